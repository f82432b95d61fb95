"""Strategies by name: their devices, and what is refused."""

from __future__ import annotations

import pytest
import tensorflow as tf

from trainlib.training.strategies import _devices, get_strategy, is_chief, mirrored, multi_worker


def test_replicas_are_refused_once_tensorflow_has_created_its_devices():
    have = len(tf.config.list_logical_devices("CPU"))
    message = f"replicas=64, but TensorFlow has already created {have} CPU device"
    with pytest.raises(ValueError, match=message):
        mirrored(64)


def test_more_replicas_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a", "b"])
    assert _devices(None) == ["GPU:0", "GPU:1"]
    with pytest.raises(ValueError, match="replicas=3, but this machine has 2 GPUs"):
        _devices(3)


@pytest.mark.parametrize("count", [0, -1])
def test_replicas_below_one_are_refused(count):
    with pytest.raises(ValueError, match="replicas must be"):
        mirrored(count)


@pytest.fixture
def no_cluster(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)


def test_one_device_needs_no_strategy(no_cluster):
    assert get_strategy("one_device") is None
    assert is_chief(None)


@pytest.mark.skipif(
    len(tf.config.list_physical_devices("GPU")) > 1, reason="auto is mirrored on several GPUs"
)
def test_auto_is_one_device_without_replicas_or_workers(no_cluster):
    assert get_strategy("auto") is None


def test_the_strategy_of_some_replicas_is_made_once(no_cluster):
    assert get_strategy("mirrored", 1) is mirrored(1)
    assert get_strategy("auto", 1) is mirrored(1)


def test_unsuitable_arguments_are_refused(no_cluster):
    with pytest.raises(ValueError, match="unknown strategy 'mirror': did you mean 'mirrored'"):
        get_strategy("mirror")
    with pytest.raises(ValueError, match="replicas=2 are for the strategy 'mirrored', not for 'on"):
        get_strategy("one_device", 2)
    with pytest.raises(ValueError, match="strategy 'multi_worker' needs TF_CONFIG, which lists"):
        multi_worker()

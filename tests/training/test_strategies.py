"""Strategies by name: their devices, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainlib.training.strategies import (
    _devices,
    get_strategy,
    is_chief,
    local_replicas,
    mirrored,
    multi_worker,
    worker_number,
)


def test_replicas_are_refused_once_tensorflow_has_created_its_devices():
    have = len(tf.config.list_logical_devices("CPU"))
    message = f"replicas=64, but TensorFlow has already created {have} CPU device"
    with pytest.raises(ValueError, match=message):
        mirrored(64)


def test_more_replicas_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["a", "b"])
    assert _devices(None) == ["GPU:0", "GPU:1"]
    with pytest.raises(ValueError, match="replicas=3, but this process sees 2 GPUs"):
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


@pytest.mark.skipif(
    len(tf.config.list_physical_devices("GPU")) > 0, reason="the default is one replica per GPU"
)
def test_the_strategy_of_the_same_devices_is_made_once(no_cluster):
    strategies = (
        mirrored(1),
        mirrored(replicas=1),
        mirrored(),
        mirrored(None),
        mirrored(np.int64(1)),
    )
    assert {id(strategy) for strategy in strategies} == {id(mirrored(1))}


@pytest.mark.parametrize("count", [1.0, True])
def test_replicas_that_are_no_integer_are_refused_also_at_a_second_call(count):
    mirrored(1)
    with pytest.raises(TypeError, match="replicas must be"):
        mirrored(count)


def test_unsuitable_arguments_are_refused(no_cluster):
    with pytest.raises(ValueError, match="unknown strategy 'mirror': did you mean 'mirrored'"):
        get_strategy("mirror")
    with pytest.raises(ValueError, match="replicas=2 are for the strategy 'mirrored', not for 'on"):
        get_strategy("one_device", 2)
    with pytest.raises(ValueError, match="strategy 'multi_worker' needs TF_CONFIG, which lists"):
        multi_worker()


@pytest.mark.parametrize(
    ("jobs", "task", "number"),
    [
        ({"worker": ["a:1", "b:1"]}, ("worker", 1), 1),
        ({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, ("chief", 0), 0),
        ({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, ("worker", 0), 1),
    ],
)
def test_a_chief_is_the_first_of_the_workers(jobs, task, number):
    kind, index = task
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(jobs), task_type=kind, task_id=index
    )
    assert worker_number(resolver) == number


def test_one_process_has_all_replicas(no_cluster):
    assert local_replicas(mirrored(1)) == range(1)

"""The GPUs that a process uses."""

from __future__ import annotations

import tensorflow as tf

from trainlib.training.gpus import visible_gpus


def test_hidden_gpus_do_not_count(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0", "GPU:1"])
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["GPU:1"])
    assert visible_gpus() == ["GPU:1"]

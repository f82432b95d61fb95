"""Examples of an epoch, changed when they are needed."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainlib.training import changed_examples
from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.changed_examples import ChangedExamples

SIZE = 20
X = np.arange(SIZE, dtype="float32")
POSITION = tf.constant(0, tf.int64), tf.constant(0, tf.int64)


@pytest.mark.parametrize(("room", "times"), [(2**20, 1), (0, 2)])
def test_an_example_is_changed_once_where_all_fit(monkeypatch, room, times):
    monkeypatch.setattr(changed_examples, "KEPT_BYTES", room)
    changed = np.zeros(SIZE, int)

    def change(ids, examples):
        np.add.at(changed, ids, 1)
        x, y = examples
        return x + 100, y

    data = ArrayAdapter("data", (X, np.arange(SIZE)), 5)
    epoch = ChangedExamples(change, data, POSITION, keeps=True)
    order = np.random.default_rng(0).permutation(SIZE)
    partners = order[::-1].copy()
    for part in (slice(0, 8), slice(8, 16), slice(16, 20)):
        ids = order[part]
        own, others = epoch.pairs(ids, data.take(ids), partners[part])
        for (x, y), expected in ((own, ids), (others, partners[part])):
            np.testing.assert_array_equal(x, expected + 100)
            np.testing.assert_array_equal(y, expected)
    assert changed.tolist() == [times] * SIZE

"""The order of examples: a permutation, and a pure function of seed and epoch."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainlib.training.order import epoch_order

SEEDS = [0, 1, 2**31, 2**63 - 1]
GOLDEN = {
    (0, 0): [3, 0, 1, 4, 2, 7, 6, 5],
    (7, 3): [6, 5, 1, 3, 7, 2, 4, 0],
    (2**40, 2**33): [5, 0, 2, 3, 6, 7, 1, 4],
}


@pytest.mark.parametrize(("seed", "epoch"), GOLDEN)
def test_the_order_never_changes(seed, epoch):
    assert epoch_order(seed, epoch, 8).tolist() == GOLDEN[seed, epoch]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_is_that_of_random_bits(seed):
    draws = tf.random.stateless_uniform(
        [1000], tf.constant([seed, 3], tf.int64), None, None, tf.int64, alg="philox"
    )
    np.testing.assert_array_equal(epoch_order(seed, 3, 1000), np.argsort(draws, kind="stable"))


@pytest.mark.parametrize("size", [0, 1, 2, 97, 1000])
@pytest.mark.parametrize("seed", SEEDS)
def test_each_example_occurs_once(seed, size):
    order = epoch_order(seed, 4, size)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(size))


def test_orders_differ_between_epochs_and_seeds_and_ignore_global_seeds():
    tf.random.set_seed(1)
    orders = {tuple(epoch_order(s, e, 50)) for s in range(10) for e in range(10)}
    assert len(orders) == 100
    tf.random.set_seed(2)
    assert orders == {tuple(epoch_order(s, e, 50)) for s in range(10) for e in range(10)}


def test_every_position_is_equally_likely():
    orders = np.stack([epoch_order(0, epoch, 8) for epoch in range(800)])
    counts = np.stack([np.bincount(column, minlength=8) for column in orders.T])
    # 100 are expected, with a standard deviation of 9.4.
    assert counts.min() > 60 and counts.max() < 140


class Recorder(keras.Model):
    """Records the batches of `fit`, and trains nothing."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def train_step(self, data):
        self.batches.append(data[0].numpy().tolist())
        return {"loss": 0.0}


def test_keras_repeats_its_order_in_every_epoch_after_a_global_seed_and_trainlib_does_not():
    keras.utils.set_random_seed(0)
    model = Recorder()
    model.compile(run_eagerly=True)
    model.fit(np.arange(8), np.arange(8), batch_size=8, epochs=3, verbose=0)
    first, *others = model.batches
    assert first != sorted(first) and others == [first, first]
    ours = [epoch_order(0, epoch, 8).tolist() for epoch in range(3)]
    assert ours[0] != ours[1] != ours[2] != ours[0]

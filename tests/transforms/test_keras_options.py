"""`keras_options`: agreement with Keras, and where its order of operations differs."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.exact import B1, B2

import trainlib as tl
from trainlib.verify.compare import difference
from trainlib.verify.peers import run_peer
from trainlib.verify.trajectory import run_optimizer

BETAS = {"beta_1": B1, "beta_2": B2}

SAME = [
    {"clipnorm": 0.25},
    {"clipvalue": 0.125},
    {"global_clipnorm": 0.5},
    {"loss_scale_factor": 4.0},
    {"use_ema": True, "ema_momentum": 0.75, "ema_overwrite_frequency": 4},
    {"gradient_accumulation_steps": 3},
    {"gradient_accumulation_steps": 3, "global_clipnorm": 0.25, "loss_scale_factor": 2.0},
    {"global_clipnorm": 0.5, "use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
]


@pytest.mark.parametrize(
    "options",
    [x if len(x) > 1 else pytest.param(x, marks=pytest.mark.soak) for x in SAME],
    ids=lambda options: "+".join(options),
)
def test_parameters_agree_with_keras(problem, options):
    decay = {"weight_decay": 0.0625}
    ours = run_optimizer(
        lambda learning_rate: tl.keras_options(tl.adam(learning_rate, **BETAS, **decay), **options),
        problem,
    )
    theirs = run_peer("keras", "Adam", BETAS | decay | options, problem)
    assert difference(ours, theirs).error < 1e-12


def constantly(step):
    return tf.constant(0.125, tf.float64)


def keras_run(grads, rate=constantly, constraint=None, excluded=(), **options):
    """Run Keras's SGD on a float64 weight of 1; return the optimizer and the weights."""

    class Rate(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return rate(step)

    w = keras.Variable(np.float64(1.0), dtype="float64", name="w")
    w.constraint = constraint
    optimizer = keras.optimizers.SGD(Rate(), **options)
    optimizer.build([w])
    optimizer.exclude_from_weight_decay(var_names=list(excluded))
    weights = []
    for g in grads:
        optimizer.apply([tf.constant(g, tf.float64)], [w])
        weights.append(float(w.value))
    return optimizer, weights


def our_run(tx, grads):
    """Run an optimizer of trainlib on the same weight; return its state and the weights."""
    w, weights = tf.constant(1.0, tf.float64), []
    state = tx.init(w)
    for g in grads:
        updates, state = tx.update(tf.constant(g, tf.float64), state, w)
        w = tl.apply_updates(w, updates)
        weights.append(float(w))
    return state, weights


def averaged(optimizer):
    return float(optimizer._model_variables_moving_average[0])


def test_decay_is_not_clipped():
    decay = np.float64(0.5)
    _, theirs = keras_run([10.0], clipnorm=1.0, weight_decay=decay)
    _, ours = our_run(tl.keras_options(tl.sgd(0.125, weight_decay=0.5), clipnorm=1.0), [10.0])
    assert ours == theirs == [0.8125]


def test_exclusions_from_decay_are_the_decay_mask():
    decay = np.float64(0.5)
    _, theirs = keras_run([1.0], excluded=["w"], weight_decay=decay)
    w = {"w": tf.constant(1.0, tf.float64)}
    tx = tl.sgd(0.125, weight_decay=0.5, decay_mask=lambda path: path != "w")
    updates, _ = tx.update(w, tx.init(w), w)
    assert float(tl.apply_updates(w, updates)["w"]) == theirs[0] == 0.875


def test_clipping_comes_after_accumulation():
    grads = [10.0, -9.0]
    _, theirs = keras_run(grads, clipnorm=1.0, gradient_accumulation_steps=2)
    _, ours = our_run(
        tl.keras_options(tl.sgd(0.125), clipnorm=1.0, gradient_accumulation_steps=2), grads
    )
    assert ours == theirs == [1.0, 0.9375]


def test_averages_count_updates_where_keras_counts_micro_batches():
    grads = [1.0, 1.0, 3.0, 3.0, 2.0, 2.0]
    averages = {"use_ema": True, "ema_momentum": 0.5}
    optimizer, theirs = keras_run(grads, gradient_accumulation_steps=2, **averages)
    tx = tl.keras_options(tl.sgd(0.125), gradient_accumulation_steps=2, **averages)
    state, ours = our_run(tx, grads)
    whole, weights = our_run(tl.keras_options(tl.sgd(0.125), **averages), grads[::2])
    assert ours == theirs
    assert ours[1::2] == weights == [0.875, 0.5, 0.25]
    w = tf.constant(ours[-1], tf.float64)
    assert float(tl.averaged_params(state, w)) == float(tl.averaged_params(whole, w)) == 0.46875
    assert averaged(optimizer) == 0.421875


def test_averages_follow_the_constraint_where_keras_averages_before_it():
    class AtMostAHalf(keras.constraints.Constraint):
        def __call__(self, w):
            return tf.minimum(w, tf.constant(0.5, w.dtype))

    at_most_a_half = AtMostAHalf()
    optimizer, theirs = keras_run([0.0], constraint=at_most_a_half, use_ema=True)
    state, ours = our_run(
        tl.keras_options(tl.sgd(0.125), constraint=at_most_a_half, use_ema=True), [0.0]
    )
    assert ours == theirs == [0.5]
    assert averaged(optimizer) == 1
    assert float(tl.averaged_params(state, tf.constant(0.0, tf.float64))) == 0.5


def test_schedules_count_updates_where_keras_counts_micro_batches():
    def rate(step):
        return 1 / (1 + tf.cast(step, tf.float64))

    grads = [1.0] * 4
    _, theirs = keras_run(grads, rate, gradient_accumulation_steps=2)
    _, ours = our_run(tl.keras_options(tl.sgd(rate), gradient_accumulation_steps=2), grads)
    _, whole = our_run(tl.sgd(rate), [1.0, 1.0])
    assert ours[1::2] == whole == [0, -0.5]
    np.testing.assert_allclose(theirs[1::2], [1 - 1 / 2, 1 - 1 / 2 - 1 / 4])


def test_an_open_window_can_be_flushed_where_keras_drops_it():
    optimizer, theirs = keras_run([1.0, 1.0, 1.0], gradient_accumulation_steps=2)
    tx = tl.keras_options(tl.sgd(0.125), gradient_accumulation_steps=2)
    state, ours = our_run(tx, [1.0, 1.0, 1.0])
    assert ours == theirs
    w = tf.constant(ours[-1], tf.float64)
    updates, _ = tl.flush(tx, state, w)
    assert float(w + updates) == 0.75


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="one of clipnorm, clipvalue and global_clipnorm"):
        tl.keras_options(tl.sgd(), clipnorm=1.0, clipvalue=1.0)
    with pytest.raises(ValueError, match="loss_scale_factor must be above 0, got 0"):
        tl.keras_options(tl.sgd(), loss_scale_factor=0)
    with pytest.raises(TypeError, match="optimizer of keras_options must be an Optimizer"):
        tl.keras_options(tl.sgd)

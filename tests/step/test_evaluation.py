"""Evaluation and prediction: the model in inference mode."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.linear import (
    BIAS,
    KERNEL,
    WEIGHTS,
    X,
    Y,
    example_losses,
    l2_on_kernel,
    linear_batch,
    penalized,
    penalized_loss,
    penalized_state,
)

import trainlib as tl
from trainlib.step.evaluation import part_eval_step, whole_batch_states


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("training", [True, False])
def test_loss_is_the_weighted_mean_plus_the_penalties(training, weight):
    optimizer = tl.sgd()
    state, batch = penalized_state(optimizer), linear_batch(weight)
    options = {"regularizer": l2_on_kernel, "metrics": {"mse": tl.losses.mean_squared_error}}
    if training:
        step = tl.train_step(
            tl.StepConfig(penalized, tl.losses.mean_squared_error, optimizer, **options)
        )
        records = step(state, batch)[1]
    else:
        records = tl.eval_step(tl.StepConfig(penalized, tl.losses.mean_squared_error, **options))(
            state, batch
        )
    w = np.ones(8) if weight is None else weight
    bare = np.sum(w * example_losses(KERNEL, BIAS)) / np.sum(w)
    assert records["loss"].compute().numpy() == pytest.approx(
        penalized_loss(KERNEL, BIAS, w), rel=1e-14
    )
    assert records["mse"].compute().numpy() == pytest.approx(bare, rel=1e-14)
    assert records["loss"].count.numpy() == records["mse"].count.numpy() == np.sum(w)


def test_a_loss_without_a_value_for_each_example_is_refused_for_a_part():
    config = tl.StepConfig(
        penalized, lambda y, p: tf.reduce_mean(tf.square(y - p), axis=[0, 1])[None]
    )
    with pytest.raises(ValueError, match="the loss has no value for each example"):
        part_eval_step(config)(penalized_state(tl.sgd()), linear_batch(None))


def test_the_losses_of_two_parts_merge_into_that_of_the_whole_batch():
    step = tl.eval_step(
        tl.StepConfig(penalized, tl.losses.mean_squared_error, regularizer=l2_on_kernel)
    )
    state = penalized_state(tl.sgd())
    parts = [(X[:3], Y[:3]), (X[3:], Y[3:])]
    first, second = (step(state, tuple(map(tf.constant, part)))["loss"] for part in parts)
    whole = penalized_loss(KERNEL, BIAS, np.ones(8))
    assert first.merge(second).compute().numpy() == pytest.approx(whole, rel=1e-14)


def test_batches_of_several_lengths_count_by_their_examples():
    def identity(params, model_state, x, training):
        return tl.ModelOutput(x, model_state, penalty=tf.constant(0.5))

    step = tl.eval_step(tl.StepConfig(identity, lambda y_true, y_pred: y_pred))
    losses = [tf.fill([2, 3], 1.0), tf.fill([4, 1], 4.0)]
    first, second = (step(tl.init_state((), (), None), (x, x))["loss"] for x in losses)
    assert float(first.merge(second).compute()) == (2 * 1.5 + 4 * 4.5) / 6


@pytest.mark.parametrize("counted", [3, 0])
def test_parts_of_a_batch_add_up_before_a_loss_under_a_mask_is_divided(counted):
    def apply_fn(params, model_state, x, training):
        mask = tf.range(8)[: x.shape[0]] < tf.cast(x[0, 0], tf.int32)
        return tl.ModelOutput(x[:, 1:], model_state, penalty=tf.constant(0.5), mask=mask)

    step = part_eval_step(tl.StepConfig(apply_fn, tl.losses.mean_squared_error))
    lengths, values = [counted, 0], [np.arange(5.0), np.full(2, 7.0)]
    state = tl.init_state((), (), None)
    parts = []
    for length, value in zip(lengths, values, strict=True):
        x = tf.constant(np.stack([np.full_like(value, length), value], -1))
        parts.append(step(state, (x, tf.zeros([len(value), 1], tf.float64)))[1])
    loss = whole_batch_states(parts, lambda tree: tree)["loss"]
    mean = (0 + 1 + 4) / 3 if counted else 0
    assert float(loss.compute()) == pytest.approx(mean + 0.5, rel=1e-14)
    assert float(loss.count) == 7

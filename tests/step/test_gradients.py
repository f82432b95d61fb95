"""`compute_gradients` and `reduce_gradients`."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS
from helpers.linear import (
    BIAS,
    KERNEL,
    WEIGHTS,
    example_losses,
    l2_on_kernel,
    linear,
    linear_batch,
    linear_gradients,
    linear_params,
    penalized,
    penalized_state,
)
from helpers.trees import arrays, assert_same_bits

import trainlib as tl

PARTS = {
    "even": np.ones(8),
    "uneven": WEIGHTS["some are 0"],
    "one is empty": np.array([0, 0, 0, 0, 1, 2, 0.5, 1]),
    "all are empty": np.zeros(8),
}


@pytest.mark.parametrize(
    ("name", "compiled"),
    [
        *((name, False) for name in PARTS),
        ("uneven", True),
        *(pytest.param(name, True, marks=pytest.mark.soak) for name in PARTS if name != "uneven"),
    ],
)
def test_replicas_that_share_their_sums_make_the_step_of_the_whole_batch(name, compiled):
    optimizer = tl.chain(tl.clip_by_global_norm(0.5), tl.adam(0.1))
    state, batch = penalized_state(optimizer), linear_batch(PARTS[name])
    parts = [tuple(a[rows] for a in batch) for rows in (slice(4), slice(4, 8))]
    shared = []

    def keep(tree):
        shared.append(tree)
        return tree

    def step(all_reduce):
        return tl.train_step(
            tl.StepConfig(
                penalized, tl.losses.mean_squared_error, optimizer, regularizer=l2_on_kernel
            ),
            compile_gradients=compiled,
            all_reduce=all_reduce,
        )

    for part in parts:
        step(keep)(state, part)
    sums = tf.nest.map_structure(lambda a, b: a + b, *shared)
    whole, record = step(None)(state, batch)
    ends = [step(lambda _: sums)(state, part) for part in parts]
    for end, _ in ends:
        for expected, got in zip(arrays(whole), arrays(end), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-15)
    merged = tl.metrics.merge(ends[0][1], ends[1][1])["loss"]
    np.testing.assert_allclose(merged.total, record["loss"].total, rtol=1e-14)
    np.testing.assert_allclose(merged.count, record["loss"].count)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_part_without_weight_keeps_the_gradient_of_a_small_penalty(execution):
    config = tl.StepConfig(linear, tl.losses.mean_squared_error, tl.sgd(), regularizer=tl.l2(1e-6))
    state = tl.init_state(linear_params("float32"), (), tl.sgd())
    state = state._replace(params={name: 1e-3 * w for name, w in state.params.items()})

    def gradients(state, batch):
        part = tl.compute_gradients(config, state, batch, all_reduce=lambda tree: tree)
        return tl.reduce_gradients(part, lambda tree: tree).grads

    grads = EXECUTIONS[execution](gradients)(state, linear_batch(np.zeros(8), "float32"))
    np.testing.assert_allclose(grads["kernel"], 2e-6 * 1e-3 * KERNEL, rtol=1e-6)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_unscaled_gradients_are_those_computed_by_hand(execution):
    scale = tl.static_loss_scale(2.0**10)
    config = tl.StepConfig(linear, tl.losses.mean_squared_error, tl.sgd(), loss_scale=scale)

    def step(state, batch):
        grads = tl.compute_gradients(config, state, batch).grads
        return tl.unscale_grads(grads, state.loss_scale)

    state = tl.init_state(linear_params(), (), tl.sgd(), loss_scale=scale)
    grads = EXECUTIONS[execution](step)(state, linear_batch())
    for name, expected in zip(("kernel", "bias"), linear_gradients(KERNEL, BIAS), strict=True):
        np.testing.assert_allclose(grads[name], expected, rtol=1e-13)


def test_gradients_without_a_loss_scale_have_the_weight_of_the_batch():
    config = tl.StepConfig(linear, tl.losses.mean_squared_error, tl.sgd())
    state = tl.init_state(linear_params(), (), tl.sgd())
    weight = WEIGHTS["some are 0"]
    gradients = tl.compute_gradients(config, state, linear_batch(weight))
    assert float(gradients.weight) == 8
    expected = linear_gradients(KERNEL, BIAS, weight)
    for name, g in zip(("kernel", "bias"), expected, strict=True):
        np.testing.assert_allclose(gradients.grads[name], g, rtol=1e-13)


def test_the_three_functions_make_the_training_step():
    optimizer = tl.adam(0.1)
    config = tl.StepConfig(
        penalized, tl.losses.mean_squared_error, optimizer, regularizer=l2_on_kernel
    )
    state, batch = penalized_state(optimizer), linear_batch(WEIGHTS["weights"])
    gradients = tl.compute_gradients(config, state, batch, all_reduce=lambda tree: tree)
    gradients = tl.reduce_gradients(gradients, lambda sums: sums)
    composed = tl.apply_gradients(config, state, gradients)
    assert_same_bits(composed, tl.train_step(config, all_reduce=lambda sums: sums)(state, batch))


def test_leaves_of_none_pass_through_the_reduction():
    config = tl.StepConfig(linear, tl.losses.mean_squared_error, tl.sgd())
    params = linear_params() | {"unused": tf.ones([2], tf.float64)}
    state = tl.init_state(params, (), tl.sgd())
    gradients = tl.compute_gradients(config, state, linear_batch(), all_reduce=lambda tree: tree)
    reduced = tl.reduce_gradients(gradients, lambda sums: sums)
    assert gradients.grads["unused"] is None and reduced.grads["unused"] is None
    for name, g in zip(("kernel", "bias"), linear_gradients(KERNEL, BIAS), strict=True):
        np.testing.assert_allclose(reduced.grads[name], g, rtol=1e-13)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_the_observer_gets_the_scaled_loss_and_its_gradients(execution):
    scale = tl.static_loss_scale(4.0)
    config = tl.StepConfig(linear, tl.losses.mean_squared_error, tl.sgd(), loss_scale=scale)

    def observed(state, batch):
        seen = []
        tl.compute_gradients(config, state, batch, observer=lambda name, x: seen.append((name, x)))
        assert [name for name, _ in seen] == ["loss", "gradient"]
        return [x for _, x in seen]

    state = tl.init_state(linear_params(), (), tl.sgd(), loss_scale=scale)
    loss, grads = EXECUTIONS[execution](observed)(state, linear_batch())
    np.testing.assert_allclose(loss, 4 * np.mean(example_losses(KERNEL, BIAS)), rtol=1e-13)
    expected = linear_gradients(KERNEL, BIAS)
    np.testing.assert_allclose(grads["kernel"], 4 * expected[0], rtol=1e-13)

"""`apply_gradients`: the norms of gradients and updates in the metric states."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS, graph
from helpers.linear import (
    BIAS,
    KERNEL,
    X,
    linear,
    linear_batch,
    linear_gradients,
    linear_params,
)

import trainlib as tl


def start(optimizer, **options):
    return tl.init_state(linear_params(), (), optimizer, **options)


def step_of(optimizer, norms=True, **options):
    return tl.train_step(
        tl.StepConfig(linear, tl.losses.mean_squared_error, optimizer, norms=norms, **options)
    )


def norm(*arrays):
    return np.sqrt(sum(np.sum(a**2) for a in arrays))


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_norms_are_of_the_gradients_before_clipping_and_of_the_updates(execution):
    optimizer = tl.chain(tl.clip_by_global_norm(0.25), tl.sgd(0.5))
    step, state = EXECUTIONS[execution](step_of(optimizer)), start(optimizer)
    params = [KERNEL, BIAS]
    for _ in range(3):
        state, records = step(state, linear_batch())
        grads = linear_gradients(*params)
        assert norm(*grads) > 0.25
        assert records["gradient_norm"].compute().numpy() == pytest.approx(norm(*grads), rel=1e-13)
        assert records["update_norm"].compute().numpy() == pytest.approx(0.125, rel=1e-13)
        assert records["gradient_norm"].count.numpy() == records["update_norm"].count.numpy() == 1
        params = [p - 0.125 * g / norm(*grads) for p, g in zip(params, grads, strict=True)]


@pytest.mark.parametrize("scale", [None, tl.static_loss_scale(2.0**10)])
def test_a_loss_scale_does_not_change_the_norms(scale):
    optimizer = tl.sgd(0.5)
    state = start(optimizer, loss_scale=scale)
    _, records = step_of(optimizer, loss_scale=scale)(state, linear_batch())
    expected = norm(*linear_gradients(KERNEL, BIAS))
    assert records["gradient_norm"].compute().numpy() == pytest.approx(expected, rel=1e-13)
    assert records["update_norm"].compute().numpy() == pytest.approx(expected / 2, rel=1e-13)


@pytest.mark.parametrize("accumulated", [False, True])
def test_a_skipped_step_does_not_count_in_the_norms(accumulated):
    optimizer = tl.accumulate(tl.sgd(0.5), 2) if accumulated else tl.sgd(0.5)
    scale = tl.dynamic_loss_scale(8.0)
    state, step = start(optimizer, loss_scale=scale), step_of(optimizer, loss_scale=scale)
    _, bad = step(state, linear_batch(x=X * np.inf))
    _, good = step(state, linear_batch())
    for name in ("gradient_norm", "update_norm"):
        assert (bad[name].total.numpy(), bad[name].count.numpy()) == (0, 0)
        assert good[name].count.numpy() == 1 and np.isfinite(good[name].total)
    assert good["gradient_norm"].total.numpy() > 1


@pytest.mark.parametrize("assigned", [None, 1.0])
def test_a_window_that_ends_with_a_skipped_batch_updates_what_the_model_assigned_too(assigned):
    def product(w, model_state, x, training):
        return tl.ModelOutput(x * w, params=None if assigned is None else w * assigned)

    optimizer = tl.accumulate(tl.sgd(0.5), 3)
    config = tl.StepConfig(product, tl.losses.mean_squared_error, optimizer, finite_guard=True)
    state = tl.init_state(tf.constant([1.0]), (), optimizer, finite_guard=True)
    step = tl.train_step(config)
    state, _ = step(state, (tf.ones([4, 1]), tf.zeros([4, 1])))
    assert state.params.numpy() == [1.0]
    state, _ = step(state, (tf.fill([4, 1], np.inf), tf.zeros([4, 1])), True)
    assert state.params.numpy() == [0.0]


def test_without_a_guard_the_norm_of_a_bad_gradient_is_reported():
    optimizer = tl.sgd(0.5)
    _, records = step_of(optimizer)(start(optimizer), linear_batch(x=X * np.inf))
    assert not np.isfinite(records["gradient_norm"].compute())


def test_norms_are_right_where_the_squares_overflow():
    optimizer = tl.sgd(2.0**-20)
    params = {"kernel": tf.zeros([1, 1]), "bias": tf.zeros([1])}
    state = tl.init_state(params, (), optimizer)
    step = tl.train_step(
        tl.StepConfig(linear, lambda y, y_pred: y_pred[:, 0], optimizer, norms=True)
    )
    _, records = step(state, (tf.fill([2, 1], 2.0**80), tf.zeros([2])))
    assert records["gradient_norm"].compute().numpy() == 2.0**80
    assert records["update_norm"].compute().numpy() == 2.0**60


def operations(**options):
    """Return the names of the operations of a step."""
    optimizer = tl.sgd(0.5)
    step = tl.train_step(tl.StepConfig(linear, tl.losses.mean_squared_error, optimizer, **options))
    concrete = graph(step).get_concrete_function(start(optimizer), linear_batch())
    return [operation.name for operation in concrete.graph.get_operations()]


def test_without_norms_the_graph_has_no_operation_for_them():
    off, on = operations(), operations(norms=True)
    assert off == operations(norms=False)
    assert not any("norm" in name for name in off)
    own = [name for name in on if name.startswith("norms/")]
    assert own
    results = [name for name in on if name.startswith("Identity")]
    assert len(on) - len(own) - len(off) <= len(results)  # two records are returned
    _, records = step_of(tl.sgd(), norms=False)(start(tl.sgd()), linear_batch())
    assert list(records) == ["loss"]

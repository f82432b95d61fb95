"""The finite guard: counters, names, and steps that change nothing else."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS
from helpers.given_gradients import predicted, product, product_batch, product_state
from helpers.trees import bits

import trainlib as tl
from trainlib.core.finite import first_nonfinite
from trainlib.step.finite_guard import init_finite_guard, update_finite_guard
from trainlib.training.functional_model import functional_from_keras

SOAK = pytest.mark.soak


def noisy_model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(2, use_bias=False, name="dense"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dropout(0.5),
        ]
    )


@pytest.mark.parametrize(
    ("execution", "compile_update"),
    [
        pytest.param(
            execution,
            compiled,
            marks=[] if execution == "graph" or (execution, compiled) == ("eager", False) else SOAK,
        )
        for execution in EXECUTIONS
        for compiled in (False, True)
    ],
)
def test_a_skipped_step_changes_only_the_guard_and_the_scale(execution, compile_update):
    optimizer = tl.chain(tl.clip_by_global_norm(1.0), tl.adamw(tl.exponential_decay(0.1, 1, 0.5)))
    scaling = tl.dynamic_loss_scale(2.0**127, growth_steps=2, cap=2.0**127)
    apply_fn, params, model_state = functional_from_keras(noisy_model())
    step = EXECUTIONS[execution](
        tl.train_step(
            tl.StepConfig(apply_fn, tl.losses.mean_squared_error, optimizer, loss_scale=scaling),
            compile_update=compile_update,
        )
    )
    state = tl.init_state(params, model_state, optimizer, loss_scale=scaling)
    rng = np.random.default_rng(0)
    batch = [tf.constant(rng.normal(size=(8, k)) * 100, tf.float32) for k in (3, 2)]
    new, _ = step(state, tuple(batch))  # the scaled loss is above the greatest float32
    assert new.loss_scale.scale.numpy() == 2.0**126
    assert new.finite_guard.skipped.numpy() == new.finite_guard.skipped_in_a_row.numpy() == 1
    assert bits(new._replace(loss_scale=(), finite_guard=())) == bits(
        state._replace(loss_scale=(), finite_guard=())
    )
    for _ in range(127):
        new, _ = step(new, tuple(batch))
        if new.step.numpy() == 1:
            break
    assert new.step.numpy() == 1
    assert new.finite_guard.skipped.numpy() > 1
    assert new.finite_guard.skipped_in_a_row.numpy() == 0
    groups = zip(new[1:4], state[1:4], strict=True)
    assert all(a != b for pair in groups for a, b in zip(*map(bits, pair), strict=True))


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_the_first_gradient_that_is_not_finite_is_named_by_its_path(bad):
    params = {
        "b": {"kernel": tf.ones([2, 2]), "bias": tf.ones([2])},
        "a": [tf.ones([]), tf.ones(3)],
    }
    grads = tf.nest.map_structure(tf.identity, params)
    assert first_nonfinite(grads).numpy() == -1
    assert tl.nonfinite_path(init_finite_guard(), params) is None
    grads["b"]["kernel"] = tf.constant([[1.0, 2.0], [bad, 3.0]])
    grads["a"][1] = None
    for name, expected in (("kernel", "b/kernel"), ("bias", "b/bias")):
        grads["b"][name] = tf.constant([[bad, 1.0]] * 2)
        index = first_nonfinite(grads)
        assert index.dtype == tf.int64
        state = update_finite_guard(init_finite_guard(), index)
        assert tl.nonfinite_path(state, params) == expected
        later = update_finite_guard(state, tf.constant(-1, tf.int64))
        assert tl.nonfinite_path(later, params) == expected


def window_step(optimizer, scaling):
    return tf.function(
        tl.train_step(tl.StepConfig(product, predicted, optimizer, loss_scale=scaling)),
        autograph=False,
    )


@pytest.mark.parametrize("place", range(3))
def test_a_micro_batch_that_is_not_finite_is_left_out_of_its_window(place):
    """The update is that of the micro-batches of weights 1, 2 and 3 without the bad one."""
    optimizer = tl.accumulate(tl.adam(0.1), every_k=3)
    scaling = tl.dynamic_loss_scale(growth_steps=2)
    rng = np.random.default_rng(0)
    batches = [
        (*product_batch(rng.normal(size=2), rng.normal(size=(1, 1))), tf.constant([float(w)]))
        for w in (1, 2, 3)
    ]
    bad = (*product_batch([1.0, np.nan], [[1.0]]), tf.constant([5.0]))
    step, no = window_step(optimizer, scaling), tf.constant(False)
    expected = product_state(optimizer, scaling)
    for batch in batches:
        expected, _ = step(expected, batch, no)
    state = product_state(optimizer, scaling)
    for i, batch in enumerate(batches):
        if i == place:
            before = state
            state, _ = step(state, bad, no)
            assert bits(state._replace(loss_scale=(), finite_guard=())) == bits(
                before._replace(loss_scale=(), finite_guard=())
            )
        state, _ = step(state, batch, no)
    assert state.opt_state.step.numpy() == 1
    assert state.finite_guard.skipped.numpy() == 1
    for a, b in zip(*map(tf.nest.flatten, (state[:4], expected[:4])), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_last_micro_batch_that_is_not_finite_closes_its_window_without_it():
    optimizer, scaling = tl.accumulate(tl.adam(0.1), every_k=4), tl.dynamic_loss_scale()
    step, yes, no = window_step(optimizer, scaling), tf.constant(True), tf.constant(False)
    first, second = product_batch([1.0, 2.0], [[3.0]]), product_batch([-3.0, 1.0], [[0.5]])
    bad = product_batch([np.inf, 0.0], [[1.0]])
    expected = product_state(optimizer, scaling)
    expected, _ = step(expected, first, no)
    open_window, _ = step(expected, bad, no)
    expected, _ = step(expected, second, yes)
    state = product_state(optimizer, scaling)
    for batch, last in ((first, no), (second, no), (bad, yes)):
        state, _ = step(state, batch, last)
    assert bits([state.params, state.opt_state]) == bits([expected.params, expected.opt_state])
    assert state.step.numpy() == state.model_state.numpy() == 2
    assert open_window.opt_state.micro_step.numpy() == 1
    alone = product_state(optimizer, scaling)
    closed, _ = step(alone, bad, yes)
    assert bits(closed._replace(loss_scale=(), finite_guard=())) == bits(
        alone._replace(loss_scale=(), finite_guard=())
    )


def test_last_is_ignored_by_other_optimizers():
    optimizer, scaling = tl.adam(0.1), tl.dynamic_loss_scale()
    step, state = window_step(optimizer, scaling), product_state(optimizer, scaling)
    new, _ = step(state, product_batch([np.inf, 0.0], [[1.0]]), tf.constant(True))
    assert bits(new._replace(loss_scale=(), finite_guard=())) == bits(
        state._replace(loss_scale=(), finite_guard=())
    )


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_guard_without_a_loss_scale_counts_the_steps_that_it_skips(execution):
    config = tl.StepConfig(product, predicted, tl.adam(0.1), finite_guard=True)
    step = EXECUTIONS[execution](tl.train_step(config))
    state = product_state(config.optimizer, finite_guard=True)
    good, bad = product_batch([1.0, 2.0], [[3.0]]), product_batch([1.0, np.nan], [[3.0]])
    counts = []
    for batch in (good, bad, bad, good):
        state, metrics = step(state, batch)
        guard = state.finite_guard
        counts.append((int(guard.skipped), int(guard.skipped_in_a_row), bool(guard.exhausted)))
        assert float(metrics["loss"].count) == (0 if batch is bad else 1)
    assert counts == [(0, 0, False), (1, 1, True), (2, 2, True), (2, 0, False)]
    assert int(state.step) == int(state.model_state) == 2
    assert state.loss_scale == ()


def test_a_guarded_step_is_the_step_without_a_guard_to_the_bit():
    ends = []
    for finite_guard in (False, True):
        config = tl.StepConfig(product, predicted, tl.adam(0.1), finite_guard=finite_guard)
        state = product_state(config.optimizer, finite_guard=finite_guard)
        for batch in (product_batch([1.0, 2.0], [[3.0]]), product_batch([-0.5, 2.0], [[0.0]])):
            state, metrics = tl.train_step(config)(state, batch)
        ends.append(bits([state._replace(finite_guard=()), metrics]))
    assert ends[0] == ends[1]


def test_a_loss_that_is_not_finite_is_named_before_the_gradients():
    config = tl.StepConfig(product, predicted, tl.sgd(0.1), finite_guard=True)
    state = product_state(config.optimizer, finite_guard=True)
    state, _ = tl.train_step(config)(state, product_batch([np.inf, 1.0], [[1.0]]))
    assert tl.nonfinite_path(state.finite_guard, state.params) == "the loss"

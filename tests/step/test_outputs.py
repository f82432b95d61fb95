"""Losses by output in the pure steps, against sums by hand."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS, soak_except

import trainlib as tl
from trainlib.losses import LossByOutput
from trainlib.metrics import OutputMetric
from trainlib.step.evaluation import part_eval_step, whole_batch_states
from trainlib.step.mixed_targets import MixedTargets, mix_targets, takes_mixed_targets

RNG = np.random.default_rng(0)
X, Y, Z = (RNG.normal(size=(6, 3)) for _ in range(3))
W, V = (RNG.uniform(0.5, 2, 6) for _ in range(2))
MASK = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 0, 0], [1, 0, 1], [0, 1, 0]], bool)
SQUARES = LossByOutput(
    {"a": tl.losses.mean_squared_error, "b": lambda y, p: tf.abs(p - y)}, {"a": 0.9, "b": 0.2}
)


def model(masks=None, penalty=0.0):
    def apply_fn(w, state, x, training):
        return tl.ModelOutput({"a": w * x, "b": 2 * w * x}, state, penalty, mask=masks)

    return apply_fn


def config_of(apply_fn=None, loss=SQUARES, **options):
    return tl.StepConfig(apply_fn or model(), loss, tl.sgd(1.0), **options)


def state_of(config):
    return tl.init_state(tf.constant(1.5, tf.float64), (), config.optimizer)


def batch_of(*weight, rows=slice(None)):
    tensors = tf.nest.map_structure(lambda a: tf.constant(a[rows]), (X, {"a": Y, "b": Z}, *weight))
    return tensors


def by_hand(w, v, mask=None):
    """The losses of both outputs at the parameter 1.5, and the gradient of their weighted sum."""
    first = np.mean((1.5 * X - Y) ** 2, -1), np.mean(2 * (1.5 * X - Y) * X, -1)
    counts = v[:, None] * np.ones_like(X) if mask is None else v[:, None] * mask
    a, d_a = (np.sum(w * part) / np.sum(w) for part in first)
    second = np.abs(3 * X - Z), np.sign(3 * X - Z) * 2 * X
    b, d_b = (np.sum(counts * part) / np.sum(counts) for part in second)
    return a, b, 0.9 * d_a + 0.2 * d_b


@pytest.mark.parametrize("execution", soak_except("graph"))
def test_each_loss_is_divided_by_its_own_weights(execution):
    config = config_of(metrics={"b_error": OutputMetric("b", tl.losses.mean_absolute_error)})
    step = EXECUTIONS[execution](tl.train_step(config))
    new, states = step(state_of(config), batch_of({"a": W, "b": V}))
    a, b, gradient = by_hand(W, V)
    values = {name: float(x) for name, x in tl.metrics.results(config.metrics, states).items()}
    expected = {"loss": 0.9 * a + 0.2 * b, "a_loss": a, "b_loss": b, "b_error": b}
    assert values == pytest.approx(expected, rel=1e-12)
    assert float(new.params) == pytest.approx(1.5 - gradient, rel=1e-12)


def test_a_mask_is_of_its_output():
    config = config_of(model({"a": None, "b": MASK}, penalty=0.25))
    new, states = tl.train_step(config)(state_of(config), batch_of())
    a, b, gradient = by_hand(np.ones(6), np.ones(6), MASK)
    assert float(states["loss"].compute()) == pytest.approx(0.9 * a + 0.2 * b + 0.25, rel=1e-12)
    assert float(states["b_loss"].compute()) == pytest.approx(b, rel=1e-12)
    assert float(new.params) == pytest.approx(1.5 - gradient, rel=1e-12)


def test_batches_add_up_to_all_examples():
    config = config_of(penalty_model := model(penalty=0.25))
    assert penalty_model is config.apply_fn
    step, start = tl.eval_step(config), state_of(config)
    weights = {"a": W, "b": V}
    whole = step(start, batch_of(weights))
    parts = [step(start, batch_of(weights, rows=slice(*r))) for r in ((0, 1), (1, 4), (4, 6))]
    merged = functools.reduce(tl.metrics.merge, parts)
    for name in ("a_loss", "b_loss"):
        assert float(merged[name].compute()) == pytest.approx(float(whole[name].compute()))
    a, b, _ = by_hand(W, V)
    assert float(merged["loss"].compute()) == pytest.approx(0.9 * a + 0.2 * b + 0.25, rel=1e-12)


def test_a_penalty_of_the_examples_of_parts_is_their_mean_whatever_their_weights():
    def apply_fn(w, state, x, training):
        return tl.ModelOutput({"a": w * x, "b": 2 * w * x}, state, tf.reduce_mean(x**2))

    config = config_of(apply_fn)
    weights, start = {"a": W, "b": V}, state_of(config)
    step = tf.function(functools.partial(part_eval_step(config), start), autograph=False)
    parts = [step(batch_of(weights, rows=slice(*r)))[1] for r in ((0, 1), (1, 6))]
    states = whole_batch_states(parts, lambda tree: tree)
    a, b, _ = by_hand(W, V)
    expected = 0.9 * a + 0.2 * b + np.mean(X**2)
    assert float(states["loss"].compute()) == pytest.approx(expected, rel=1e-12)


def test_parts_of_a_batch_under_a_mask_are_divided_over_the_whole_batch():
    def apply_fn(w, state, x, training):
        mask = tf.gather(tf.constant(MASK), tf.cast(x[:, 0], tf.int32))
        x = tf.gather(tf.constant(X), tf.cast(x[:, 0], tf.int32))
        return tl.ModelOutput({"a": w * x, "b": 2 * w * x}, state, mask={"a": None, "b": mask})

    config = config_of(apply_fn)
    rows, step = np.arange(6.0)[:, None], part_eval_step(config)
    targets = {"a": Y, "b": Z}
    parts = []
    for r in (slice(0, 4), slice(4, 6)):
        part = tf.nest.map_structure(lambda a, r=r: tf.constant(a[r]), (rows, targets))
        parts.append(step(state_of(config), part))
    states = whole_batch_states([found for _, found in parts], lambda tree: tree)
    a, b, _ = by_hand(np.ones(6), np.ones(6), MASK)
    assert float(states["b_loss"].compute()) == pytest.approx(b, rel=1e-12)
    assert float(states["loss"].compute()) == pytest.approx(0.9 * a + 0.2 * b, rel=1e-12)


def test_accumulated_batches_make_the_step_of_the_whole_batch():
    def params_after(optimizer, *rows):
        config = tl.StepConfig(model(), SQUARES, optimizer)
        state = tl.init_state(tf.constant(1.5, tf.float64), (), optimizer)
        for part in rows:
            state, _ = tl.train_step(config)(state, batch_of(W, rows=slice(*part)))
        return float(state.params)

    whole = params_after(tl.sgd(1.0), (0, 6))
    parts = params_after(tl.accumulate(tl.sgd(1.0), 2), (0, 4), (4, 6))
    assert parts == pytest.approx(whole, rel=1e-12)
    assert whole != 1.5


def test_a_loss_that_is_weighted_by_0_is_reported_and_trains_nothing():
    config = config_of(loss=LossByOutput(SQUARES.losses, {"a": 1.0, "b": 0.0}))
    new, states = tl.train_step(config)(state_of(config), batch_of())
    a, b, _ = by_hand(np.ones(6), np.ones(6))
    assert float(states["loss"].compute()) == pytest.approx(a, rel=1e-12)
    assert float(states["b_loss"].compute()) == pytest.approx(b, rel=1e-12)
    only = config_of(loss=LossByOutput({"a": SQUARES.losses["a"], "b": None}))
    alone, _ = tl.train_step(only)(state_of(only), batch_of())
    assert float(new.params) == float(alone.params)


def test_targets_of_several_outputs_are_mixed():
    share = RNG.uniform(size=6)
    first = {"a": Y, "b": Z}, {"a": W, "b": V}
    second = tf.nest.map_structure(lambda a: a[::-1].copy(), first)
    y, weight = mix_targets(*tf.nest.map_structure(tf.constant, (first, second)), share)
    config = takes_mixed_targets(config_of())
    states = tl.eval_step(config)(state_of(config), (tf.constant(X), y, weight))
    assert isinstance(y, MixedTargets)
    each = [np.mean((1.5 * X - target) ** 2, -1) for target in (Y, Y[::-1])]
    w = share * W, (1 - share) * W[::-1]
    expected = np.sum(w[0] * each[0] + w[1] * each[1]) / np.sum(w)
    assert float(states["a_loss"].compute()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("losses", "by_order", "message"),
    [
        ({"a": 1, "c": 1}, False, "^the model has no output 'c': .*its outputs are a, b"),
        ({"a": 1}, False, "^loss has no entry for output 'b': write None if it has no loss"),
        ({"x": 1, "y": 1}, True, "^the model returns the outputs a, b by name"),
    ],
)
def test_losses_for_other_outputs_are_refused(losses, by_order, message):
    losses = {name: tl.losses.mean_squared_error for name in losses}
    config = config_of(loss=LossByOutput(losses, by_order=by_order))
    with pytest.raises(ValueError, match=message):
        tl.eval_step(config)(state_of(config), batch_of())


def test_outputs_without_names_need_losses_in_order():
    def apply_fn(w, state, x, training):
        return tl.ModelOutput([w * x, x], state)

    config = config_of(apply_fn)
    with pytest.raises(ValueError, match="^the model returns 2 outputs in a list, without names"):
        tl.eval_step(config)(state_of(config), batch_of())
    in_order = config_of(apply_fn, LossByOutput(SQUARES.losses, by_order=True))
    assert set(tl.eval_step(in_order)(state_of(in_order), batch_of())) == {
        *("loss", "a_loss", "b_loss")
    }


def test_a_metric_of_an_output_needs_losses_by_output():
    metrics = {"m": OutputMetric("a", tl.metrics.accuracy)}
    config = config_of(loss=lambda y, p: tf.abs(p["a"] - y["a"]), metrics=metrics)
    with pytest.raises(ValueError, match="^metric m: .* needs a LossByOutput"):
        tl.eval_step(config)(state_of(config), batch_of())

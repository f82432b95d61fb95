"""The constraints of a config: after the update, where one is made, and after the optimizer."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

CAP = {"w": lambda w: tf.minimum(w, 1.0)}


def stepped(optimizer, gradients, start=0.0, constraints=CAP, **options):
    """Return the states after steps with these gradients of w; v has none."""

    def given(params, model_state, x, training):
        return tl.ModelOutput(params["w"] * x, model_state)

    guard = {"finite_guard": options.pop("finite_guard", False)}
    config = tl.StepConfig(
        given, lambda y, p: p, optimizer, constraints=constraints, **guard, **options
    )
    params = {"v": tf.constant(5.0), "w": tf.constant(start)}
    state, states = tl.init_state(params, (), optimizer, **guard), []
    step = tf.function(tl.train_step(config), autograph=False)
    for g in gradients:
        x = tf.constant([g])
        state, _ = step(state, (x, x))
        states.append(state)
    return states


def values(states):
    return [float(state.params["w"]) for state in states]


def test_a_constraint_acts_after_each_update():
    states = stepped(tl.sgd(1.0), [-0.75, -0.75, 0.5])
    assert values(states) == [0.75, 1.0, 0.5]


def test_a_parameter_without_an_update_is_not_constrained():
    (state,) = stepped(tl.sgd(1.0), [-0.5], constraints=CAP | {"v": CAP["w"]})
    assert float(state.params["v"]) == 5.0


def test_accumulated_gradients_are_constrained_at_their_update():
    states = stepped(tl.accumulate(tl.sgd(1.0), 2), [-0.5, -0.5, -0.5], start=2.0)
    assert values(states) == [2.0, 1.0, 1.0]


def test_a_parameter_beside_accumulated_ones_is_constrained_at_each_update():
    optimizers = {"sum": tl.accumulate(tl.sgd(1.0), 2), "now": tl.sgd(1.0)}
    states = stepped(tl.partition(optimizers, {"v": "sum", "w": "now"}), [-2.0, -2.0])
    assert values(states) == [1.0, 1.0]


def test_a_skipped_step_is_not_constrained():
    states = stepped(tl.sgd(1.0), [np.inf, -0.5], start=2.0, finite_guard=True)
    assert values(states) == [2.0, 1.0]


def test_an_average_is_taken_before_and_a_constraint_of_the_optimizer_is_averaged():
    outside, inside = (
        stepped(tl.chain(tl.sgd(1.0), *more, tl.ema(0.5)), [-2.0])[0]
        for more in ((), (tl.constrain(CAP["w"]),))
    )
    averages = [
        float(tl.averaged_params(state.opt_state, state.params)["w"]) for state in (outside, inside)
    ]
    assert values([outside, inside]) == [1.0, 1.0]
    assert averages == [2.0, 1.0]


def test_lookahead_keeps_slow_weights_without_the_constraint():
    states = stepped(tl.lookahead(tl.sgd(1.0), 2, 0.5), [-2.0, -2.0])
    assert values(states) == [1.0, 1.0]
    assert float(states[1].opt_state.slow["w"]) == 1.5  # halfway from 0 to 1 + 2


def test_the_path_of_no_parameter_is_refused():
    with pytest.raises(ValueError, match="^constraints: no parameter has the path 'u'"):
        stepped(tl.sgd(1.0), [1.0], constraints={"u": CAP["w"]})


def assigning(params, model_state, x, training):
    """Halve w in each training step, as a layer that normalizes its kernel does."""
    w = params["w"]
    half = tf.stop_gradient(w / 2) + (w - tf.stop_gradient(w)) if training else w
    return tl.ModelOutput(half * x, model_state, params={"w": half})


@pytest.mark.parametrize("g", [0.5, np.inf])
def test_an_update_is_added_to_what_the_model_assigned_unless_it_is_skipped(g):
    optimizer = tl.sgd(1.0)
    config = tl.StepConfig(assigning, lambda y, p: p, optimizer, finite_guard=True)
    state = tl.init_state({"w": tf.constant(4.0)}, (), optimizer, finite_guard=True)
    x = tf.constant([g])
    state, _ = tl.train_step(config)(state, (x, x))
    assert float(state.params["w"]) == (1.5 if np.isfinite(g) else 4.0)

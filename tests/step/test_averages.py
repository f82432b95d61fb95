"""The average of a step: after the update and the constraints, where an update is made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl


def model(params: Any, model_state: Any, x: Any, training: bool) -> tl.ModelOutput:
    """Return w x; the state holds the last x."""
    return tl.ModelOutput(params["w"] * x, {"seen": tf.reduce_mean(x), "kept": model_state["kept"]})


def stepped(average: tl.Optimizer, gradients: list[float], **options: Any) -> list[Any]:
    """Return the training states after steps with these gradients, from w = 0."""
    optimizer = options.pop("optimizer", tl.sgd(1.0))
    averaged: dict[str, Any] = {"average": average, "averaged_state": ("seen",)}
    config = tl.StepConfig(model, lambda y, p: p, optimizer, **averaged, **options)
    zero = tf.constant(0.0)
    guard = {"finite_guard": options.get("finite_guard", False)}
    state = tl.init_state({"w": zero}, {"kept": zero, "seen": zero}, optimizer, **averaged, **guard)
    states, step = [], tl.train_step(config)
    for g in gradients:
        x = tf.constant([g])
        state, _ = step(state, (x, x))
        states.append(state)
    return states


def averages(states: list[Any]) -> list[tuple[float, float]]:
    """Return the averages of w and of the last x."""
    found = map(tl.averaged_weights, states)
    return [(float(params["w"]), float(other["seen"])) for params, other in found]


def test_parameters_and_a_part_of_the_model_state_are_averaged() -> None:
    states = stepped(tl.swa(), [-1.0, -2.0, -3.0])
    assert [float(s.params["w"]) for s in states] == [1.0, 3.0, 6.0]
    np.testing.assert_allclose(averages(states), [(1, -1), (2, -1.5), (10 / 3, -2)], rtol=1e-6)
    assert set(states[0].average.average["model_state"]) == {"seen"}


def test_constrained_parameters_are_averaged() -> None:
    states = stepped(tl.swa(), [-1.0, -2.0], constraints={"w": lambda w: tf.minimum(w, 2.0)})
    assert averages(states)[1][0] == 1.5


def test_accumulated_gradients_are_averaged_at_their_update() -> None:
    states = stepped(tl.swa(), [-1.0, -3.0, -1.0, -1.0], optimizer=tl.accumulate(tl.sgd(1.0), 2))
    assert averages(states) == [(0, 0), (2, -3), (2, -3), (2.5, -2)]


def test_a_skipped_step_is_not_averaged() -> None:
    states = stepped(tl.swa(), [-1.0, np.nan, -3.0], finite_guard=True)
    assert averages(states) == [(1, -1), (1, -1), (2.5, -2)]


def test_the_average_may_replace_the_parameters() -> None:
    states = stepped(tl.ema(0.5, overwrite_frequency=2), [-1.0, -3.0])
    expected = (0.5 * 1 + 4) / 1.5  # debiased: weights 1/3 and 2/3
    assert float(states[1].params["w"]) == pytest.approx(expected)


def test_a_state_without_the_average_is_refused() -> None:
    config = tl.StepConfig(model, lambda y, p: p, tl.sgd(1.0), average=tl.swa())
    state = tl.init_state({"w": tf.constant(0.0)}, {"kept": 0.0}, tl.sgd(1.0))
    with pytest.raises(ValueError, match="must be given the same average"):
        tl.train_step(config)(state, (tf.ones([1]), tf.ones([1])))

"""Sophia: compared with Optax, and its arguments."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.verify.compare import difference
from trainlib.verify.peers import run_peer
from trainlib.verify.problem import make_problem
from trainlib.verify.trajectory import run_optimizer

PARAMS = {"w": tf.constant([1.0, -2.0]), "b": tf.constant(0.5)}
GRADS = {"w": tf.constant([0.5, 0.25]), "b": tf.constant(1.0)}
BETAS = {"beta_1": 0.875, "beta_2": 0.75}


def curvature(w):
    """An estimate that depends on the point, and that is negative in places."""
    return 4 * w * w - 0.25


class Estimates:
    """The same for Optax, which wants it as a gradient transformation."""

    @staticmethod
    def init(params):
        return ()

    @staticmethod
    def update(grads, state, params=None):
        return {name: curvature(w) for name, w in params.items()}, state


def hessian(params, step):
    return {name: curvature(w) for name, w in params.items()}


CASES = {
    "plain": ({}, {}, {}),
    "small gradients": ({}, {}, {"scale": 2.0**-20}),
    "large epsilon": ({"epsilon": 2.0**-4}, {"eps": 2.0**-4}, {}),
    "every third, no clipping": (
        {"update_interval": 3, "clip_threshold": None, "gamma": 2.0, "epsilon": 0.5},
        {"update_interval": 3, "clip_threshold": None, "gamma": 2.0, "eps": 0.5},
        {},
    ),
    "weight decay": ({"weight_decay": 0.0625}, {"weight_decay": 0.0625}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_sophia_follows_optax(case):
    pytest.importorskip("optax")
    ours, theirs, options = CASES[case]
    problem = make_problem(200, **options)
    theirs = {"b1": 0.875, "b2": 0.75, "hessian_diagonal_fn": Estimates} | theirs
    expected = run_peer("optax", "sophia", theirs, problem)
    make = functools.partial(tl.sophia, hessian_fn=hessian, **(BETAS | ours))
    for run in ("graph", "xla"):
        assert difference(run_optimizer(make, problem, run), expected).error <= 1e-12


def test_the_state_has_its_documented_fields():
    state = tl.sophia(0.5, hessian).init(PARAMS)
    assert state._fields == ("step", "m", "h")
    assert state.step.dtype == tf.int64 and state.h["w"].shape == [2]


def test_the_estimate_is_computed_once_per_interval():
    asked = []

    def counted(params, step):
        asked.append(int(step))
        return hessian(params, step)

    tx = tl.sophia(0.5, counted, update_interval=3)
    state = tx.init(PARAMS)
    for _ in range(7):
        _, state = tx.update(GRADS, state, PARAMS)
    assert asked == [0, 3, 6]


def test_the_paper_uses_the_estimate_of_the_same_update():
    tx = tl.sophia(
        1.0, lambda params, step: {"w": tf.fill([2], 8.0), "b": None}, convention="paper",
        weight_decay=0.0, beta_1=0.5, beta_2=0.5, gamma=0.5,
    )  # fmt: skip
    updates, state = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["w"], -0.5 * GRADS["w"] / (0.5 * 4), rtol=1e-6)
    assert updates["b"] == -1 and state.h["b"] == 0


def test_a_gradient_of_none_makes_no_step():
    tx = tl.sophia(0.5, hessian)
    updates, state = tx.update({"w": None, "b": GRADS["b"]}, tx.init(PARAMS), PARAMS)
    assert updates["w"] is None
    np.testing.assert_array_equal(state.h["w"], [0, 0])


def test_invalid_arguments_are_refused_by_name():
    with pytest.raises(TypeError, match="hessian_fn must be a function"):
        tl.sophia(0.5, None)
    with pytest.raises(ValueError, match="update_interval must be at least 1, got 0"):
        tl.sophia(0.5, hessian, update_interval=0)
    tx = tl.sophia(0.5, lambda params, step: params["w"])
    with pytest.raises(ValueError, match="estimate of hessian_fn must have the structure of par"):
        tx.update(GRADS, tx.init(PARAMS), PARAMS)

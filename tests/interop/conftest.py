"""A round trip: a run of another library continues in trainlib, and then there again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
import trainlib.registry as registry
from trainlib.verify.case import OptimizerCase
from trainlib.verify.optimizer_cases import CASES
from trainlib.verify.problem import Arrays, Problem, make_problem

STEPS = 3
TOLERANCES = {"float64": 1e-12, "float32": 1e-6}


@pytest.fixture
def case() -> Callable[[str], OptimizerCase]:
    """Return a case of `verify` by its title."""
    return {case.title: case for case in CASES}.__getitem__


@pytest.fixture
def our_optimizer() -> Callable[..., tl.Optimizer]:
    """Return the optimizer of a case, in a peer's convention, at the problem's learning rates."""

    def make(case: OptimizerCase, peer: str, problem: Problem) -> tl.Optimizer:
        dtype = next(iter(problem.start.values())).dtype
        of_peer = case.peers[peer]
        return registry.lookup("optimizer", case.optimizer)(
            learning_rate=lambda k: tf.cast(tf.gather(tf.constant(problem.rates), k), dtype),
            **(case.options | of_peer.ours),
            convention=of_peer.convention or peer,
        )

    return make


@pytest.fixture
def round_trip() -> Callable[..., None]:
    """Run a peer, then trainlib, then the peer again, and compare with a peer that ran throughout.

    peer: `(start, problem)` -> an object with `params`, a dict of arrays, and `step(k)`.
    to_ours: `(peer) -> (optimizer, state)`. to_theirs: `(state, peer)`, into a new peer.
    """

    def run(
        peer: Callable[[Arrays, Problem], Any],
        to_ours: Callable[[Any], tuple[tl.Optimizer, Any]],
        to_theirs: Callable[[Any, Any], None],
        dtype: str,
        problem: dict[str, Any],
    ) -> None:
        made = make_problem(3 * STEPS, dtype, **problem)
        size = max(float(np.max(np.abs(w))) for w in made.start.values())
        close = functools.partial(_assert_close, size=size, tolerance=TOLERANCES[dtype])
        stayed = peer(made.start, made)
        for k in range(STEPS):
            stayed.step(k)

        optimizer, state = to_ours(stayed)
        params = {name: tf.constant(w) for name, w in stayed.params.items()}
        for k in range(STEPS, 2 * STEPS):
            noise = made.noise[k]
            grads = {name: made.curvature[name] * w + noise[name] for name, w in params.items()}
            updates, state = optimizer.update(grads, state, params)
            params = tl.apply_updates(params, updates)
            stayed.step(k)
            close({name: w.numpy() for name, w in params.items()}, stayed.params, step=k)

        back = peer({name: w.numpy() for name, w in params.items()}, made)
        to_theirs(state, back)
        for k in range(2 * STEPS, 3 * STEPS):
            back.step(k)
            stayed.step(k)
            close(back.params, stayed.params, step=k)

    return run


def _assert_close(ours: Arrays, theirs: Arrays, size: float, tolerance: float, step: int) -> None:
    """Compare relative to the largest initial parameter."""
    assert ours.keys() == theirs.keys()
    for name, w in theirs.items():
        error = float(np.max(np.abs(ours[name] - w))) / size
        assert error <= tolerance, f"{name} at step {step}: {error}"

"""Every optimizer in every form follows the trajectory of its peers over 65 steps, or 200."""

from __future__ import annotations

import functools

import golden.make as make
import numpy as np
import pytest

from trainlib.verify.case import OptimizerCase
from trainlib.verify.compare import TOLERANCES, difference, our_path
from trainlib.verify.optimizer_cases import CASES
from trainlib.verify.peers import PEERS
from trainlib.verify.problem import make_problem

PAIRS = [(case, peer) for case in CASES for peer in PEERS if peer in case.peers]
PLAIN = {(case.optimizer, peer): case.title for case, peer in reversed(PAIRS)}
"""The first form of each optimizer that a peer implements."""
COMPILED = ("adam", "muon")
"""Also with XLA, which compiles slowly: element by element, and by matrix."""
FEWER = 65
"""Steps that show every part of a rule: an error in one step shows in the next stored ones."""
SOME = {"two": ("vector", "wide"), "one": ("wide",)}
"""The parameters of most forms: first forms take one of each rank that rules tell apart."""
BY_SHAPE = ("adafactor", "muon", "sm3")
"""Optimizers whose rule depends on the shape of a parameter: first forms take all of them, others
two."""
ALWAYS_ALL = ("prodigy", "lars")
"""Optimizers that take all parameters in every form: one couples them, one names them in masks."""
OTHER_SIZES = ("small gradients", "large epsilon")
"""Forms whose code is that of another form: only numbers differ, so that soak has them."""


def runs():
    """Yield first forms with all peers, others with one, a few with XLA, and all in soak.

    They come with their number of steps and of parameters: few, and in soak all.
    """
    with_one_peer = {case.title: peer for case, peer in reversed(PAIRS)}
    for case, peer in PAIRS:
        first = PLAIN[case.optimizer, peer] == case.title
        of_one_peer = with_one_peer[case.title] == peer
        needs_all = case.optimizer in ALWAYS_ALL or "shapes" in case.problem
        for run, soon in (
            ("graph", first or (of_one_peer and not case.form.endswith(OTHER_SIZES))),
            ("xla", first and peer == "keras" and case.optimizer in COMPILED),
        ):
            if soon:
                yield case, peer, run, FEWER, "all" if needs_all else few(case, first)
            yield pytest.param(case, peer, run, make.STEPS, "all", marks=pytest.mark.soak)


def few(case, first):
    """Return which parameters the quick run of a case takes."""
    if case.optimizer in BY_SHAPE:
        return "all" if first else "two"
    return "two" if first or "mask" in case.form else "one"


@pytest.fixture(scope="session")
def golden():
    """The stored trajectories by peer."""
    return {peer: dict(np.load(make.FOLDER / f"{peer}.npz")) for peer in PEERS}


@functools.cache
def problem_of(title):
    """Return the test problem of a case, made once for all its peers and runs."""
    (case,) = (case for case in CASES if case.title == title)
    return make_problem(make.STEPS, **case.problem)


def first_steps(problem, steps, names):
    """Return the first steps of some of the parameters of a problem."""
    start, curvature, *noise = (
        {name: row[name] for name in names}
        for row in (problem.start, problem.curvature, *problem.noise[:steps])
    )
    return problem._replace(start=start, curvature=curvature, noise=noise)


@pytest.mark.parametrize(
    ("case", "peer", "run", "steps", "parameters"),
    runs(),
    ids=lambda x: x.title if isinstance(x, OptimizerCase) else None,
)
def test_the_trajectory_agrees_with_the_peer(case, peer, run, steps, parameters, golden):
    whole = problem_of(case.title)
    problem = first_steps(whole, steps, SOME.get(parameters, whole.start))
    path = our_path(case, peer, problem, run)
    kept = [k for k in make.KEPT if k <= steps]
    ours = [path[k - 1] for k in kept]
    theirs = [
        {name: golden[peer][f"{case.title}|{name}"][i] for name in ours[0]}
        for i in range(len(kept))
    ]
    worst = difference(ours, theirs)
    assert worst.error <= TOLERANCES["float64"], f"{worst.error:.1e} in {worst.tensor}"


def test_the_stored_trajectories_are_those_of_the_cases(golden):
    for peer in PEERS:
        titles = {key.split("|")[0] for key in golden[peer]}
        assert titles == {case.title for case in CASES if peer in case.peers}

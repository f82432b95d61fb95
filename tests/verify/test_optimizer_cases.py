"""Every optimizer in every form follows the trajectory of its peers over 65 steps, or 200."""

from __future__ import annotations

import golden.make as make
import numpy as np
import pytest

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


def runs():
    """Yield first forms with all peers, others with one, a few with XLA, and all in soak.

    They come with their number of steps: few, and in soak all.
    """
    with_one_peer = {case.title: peer for case, peer in reversed(PAIRS)}
    for case, peer in PAIRS:
        first = PLAIN[case.optimizer, peer] == case.title
        for run, soon in (
            ("graph", first or with_one_peer[case.title] == peer),
            ("xla", first and peer == "keras" and case.optimizer in COMPILED),
        ):
            if soon:
                yield case, peer, run, FEWER
            yield pytest.param(case, peer, run, make.STEPS, marks=pytest.mark.soak)


@pytest.fixture(scope="session")
def golden():
    """The stored trajectories by peer."""
    return {peer: dict(np.load(make.FOLDER / f"{peer}.npz")) for peer in PEERS}


@pytest.mark.parametrize(
    ("case", "peer", "run", "steps"), runs(), ids=lambda x: getattr(x, "title", x)
)
def test_the_trajectory_agrees_with_the_peer(case, peer, run, steps, golden):
    problem = make_problem(make.STEPS, **case.problem)
    path = our_path(case, peer, problem._replace(noise=problem.noise[:steps]), run)
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

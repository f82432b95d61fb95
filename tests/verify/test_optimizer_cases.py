"""Every optimizer in every form follows the trajectory of its peers over 200 steps."""

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
COMPILED = ("sgd", "adam", "nadam", "adamw", "lamb", "muon", "adafactor", "schedule_free_adamw")
"""Also with XLA, which compiles slowly."""


def runs():
    """Yield first forms with all peers, others with one, a few with XLA, and all in soak."""
    with_one_peer = {case.title: peer for case, peer in reversed(PAIRS)}
    for case, peer in PAIRS:
        first = PLAIN[case.optimizer, peer] == case.title
        for run, soon in (
            ("graph", first or with_one_peer[case.title] == peer),
            ("xla", first and peer == "keras" and case.optimizer in COMPILED),
        ):
            yield pytest.param(case, peer, run, marks=[] if soon else [pytest.mark.soak])


@pytest.fixture(scope="session")
def golden():
    """The stored trajectories by peer."""
    return {peer: dict(np.load(make.FOLDER / f"{peer}.npz")) for peer in PEERS}


@pytest.mark.parametrize(
    ("case", "peer", "run"), runs(), ids=lambda x: x if isinstance(x, str) else x.title
)
def test_the_trajectory_agrees_with_the_peer(case, peer, run, golden):
    path = our_path(case, peer, make_problem(make.STEPS, **case.problem), run)
    ours = [path[k - 1] for k in make.KEPT]
    theirs = [
        {name: golden[peer][f"{case.title}|{name}"][i] for name in ours[0]}
        for i in range(len(make.KEPT))
    ]
    worst = difference(ours, theirs)
    assert worst.error <= TOLERANCES["float64"], f"{worst.error:.1e} in {worst.tensor}"


def test_the_stored_trajectories_are_those_of_the_cases(golden):
    for peer in PEERS:
        titles = {key.split("|")[0] for key in golden[peer]}
        assert titles == {case.title for case in CASES if peer in case.peers}

"""Runs the optimizers' cases against peers, and measures how far the trajectories part."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

import trainlib.registry as registry
from trainlib.verify.case import Case, Peer
from trainlib.verify.ours import run_ours
from trainlib.verify.peers import run_peer
from trainlib.verify.problem import Arrays, Problem, make_problem

TOLERANCES = {"float64": 1e-12, "float32": 1e-5}
"""Largest error relative to a tensor's largest value on the way.

In float64 the peers' own rounding stays below 1e-14. In float32 the powers and hyperparameters of
peers are rounded in other places: 1 - 0.999 alone has a relative error of 5e-5.
"""


class Difference(NamedTuple):
    """error: the largest on the way, relative to the tensor's largest value. step: from 1."""

    error: float
    step: int
    tensor: str


class Result(NamedTuple):
    """A line of the table. `error` is None where the peer was not run, and `note` says why.

    step: of the trajectory, from 1; 0 where there is none. tensor: where the error is largest.
    bound: the error that is borne.
    """

    kind: str
    name: str
    form: str
    peer: str
    run: str
    error: float | None
    bound: float
    step: int
    tensor: str
    passed: bool | None
    note: str


def difference(ours: Sequence[Arrays], theirs: Sequence[Arrays]) -> Difference:
    """Where two trajectories are farthest from each other."""
    worst = Difference(0.0, 0, "")
    for name in theirs[0]:
        size = max(float(np.max(np.abs(row[name]))) for row in theirs) or 1.0
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True), start=1):
            error = float(np.max(np.abs(a[name] - b[name]))) / size
            if not error <= worst.error:
                worst = Difference(error, i, name)
            if np.isnan(error):
                return worst
    return worst


def our_path(case: Case, peer: str, problem: Problem, run: str) -> list[Arrays]:
    """Our trajectory in the convention of a peer."""
    of_peer = case.peers[peer]
    make = functools.partial(
        registry.lookup("optimizer", case.optimizer),
        **(case.options | of_peer.ours),
        convention=of_peer.convention or peer,
    )
    return run_ours(make, problem, run, case.read)


def peer_path(case: Case, peer: str, problem: Problem) -> list[Arrays]:
    """The peer's own trajectory."""
    of_peer: Peer = case.peers[peer]
    with of_peer.patch() if of_peer.patch else contextlib.nullcontext():
        return run_peer(peer, of_peer.name, of_peer.options, problem, of_peer.read)


def compare(case: Case, peer: str, dtype: str, steps: int, runs: Sequence[str]) -> Iterator[Result]:
    """The lines of a case and a peer."""
    problem = make_problem(steps, dtype, **case.problem)
    theirs = peer_path(case, peer, problem)
    for run in runs:
        worst = difference(our_path(case, peer, problem, run), theirs)
        yield Result(
            "optimizer",
            case.optimizer,
            case.form,
            peer,
            run,
            worst.error,
            TOLERANCES[dtype],
            worst.step,
            worst.tensor,
            bool(worst.error <= TOLERANCES[dtype]),
            case.peers[peer].note,
        )

"""Run cases and their peers, and measure the largest error."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

import trainlib.registry as registry
from trainlib.verify.case import FunctionCase, OptimizerCase
from trainlib.verify.peers import missing_reason, run_peer
from trainlib.verify.problem import Arrays, Problem, make_problem
from trainlib.verify.trajectory import run_optimizer

TOLERANCES = {"float64": 1e-12, "float32": 1e-5}
"""Largest accepted error, relative to the largest value of a tensor along the trajectory.

In float64 the rounding errors of the peers stay below 1e-14. In float32 the peers round powers and
hyperparameters in other places: 1 - 0.999 alone has a relative error of 5e-5.
"""
SMALL = 1e-3
"""The error of an element smaller than this fraction of its array's largest is relative to that
bound: a difference of almost equal numbers, as at the end of a cosine, has no bounded relative
error."""


class Difference(NamedTuple):
    """The largest difference of two trajectories.

    Attributes:
        error: the largest error relative to the largest value of the tensor.
        step: the step of that error, counted from 1; 0 if there is no error.
        tensor: the name of the tensor.
    """

    error: float
    step: int
    tensor: str


class Result(NamedTuple):
    """One line of the report.

    Attributes:
        kind, name, form: those of the case.
        peer: the library that the case was compared with.
        run: "eager", "graph" or "xla".
        error: the largest relative error; None if the peer was not run.
        bound: the largest error that passes.
        step: the step of the largest error, counted from 1; 0 for functions.
        tensor: the tensor with the largest error.
        passed: whether the error is within the bound; None if the peer was not run.
        note: the remark of the case, or why the peer was not run.
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
    """Return the largest difference of two trajectories."""
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


def our_path(case: OptimizerCase, peer: str, problem: Problem, run: str) -> list[Arrays]:
    """Return the trajectory of trainlib in the convention of a peer."""
    of_peer = case.peers[peer]
    make = functools.partial(
        registry.lookup("optimizer", case.optimizer),
        **(case.options | of_peer.ours),
        convention=of_peer.convention or peer,
    )
    return run_optimizer(make, problem, run, case.read)


def peer_path(case: OptimizerCase, peer: str, problem: Problem) -> list[Arrays]:
    """Return the trajectory of a peer."""
    of_peer = case.peers[peer]
    with of_peer.patch() if of_peer.patch else contextlib.nullcontext():
        return run_peer(peer, of_peer.name, of_peer.options, problem, of_peer.read)


class PeerEndedError(Exception):
    """The process of a peer ended before it answered."""


class PeerRunner(Protocol):
    """How peers are run; `trainlib.verify.peer_process` has another one."""

    def missing(self, peer: str, needs: str) -> str: ...

    def path(self, case: OptimizerCase, peer: str, problem: Problem) -> list[Arrays]: ...

    def outputs(self, case: FunctionCase, peer: str, dtype: str) -> Arrays: ...


class _ThisProcess:
    """Runs peers in this process."""

    def missing(self, peer: str, needs: str) -> str:
        return missing_reason(peer, needs)

    def path(self, case: OptimizerCase, peer: str, problem: Problem) -> list[Arrays]:
        return peer_path(case, peer, problem)

    def outputs(self, case: FunctionCase, peer: str, dtype: str) -> Arrays:
        return peer_outputs(case, peer, dtype)


THIS_PROCESS = _ThisProcess()


def _results(runner: PeerRunner, peer: str, needs: str, run: Callable[[], Any]) -> tuple[Any, str]:
    """Return what a peer computes and "", or None and why it was not run."""
    if missing := runner.missing(peer, needs):
        return None, missing
    try:
        return run(), ""
    except PeerEndedError as ended:
        return None, str(ended)


def compare_optimizer(
    case: OptimizerCase,
    peer: str,
    dtype: str,
    steps: int,
    runs: Sequence[str],
    runner: PeerRunner = THIS_PROCESS,
) -> Iterator[Result]:
    """Compare an optimizer with a peer; yield one result for each of `runs`."""
    head = ("optimizer", case.optimizer, case.form, peer)
    bound = TOLERANCES[dtype]
    problem = make_problem(steps, dtype, **case.problem)
    # Only Keras lacks some optimizers in the supported versions.
    needs = f"keras.optimizers.{case.peers[peer].name}" if peer == "keras" else ""
    theirs, missing = _results(runner, peer, needs, lambda: runner.path(case, peer, problem))
    if missing:
        yield Result(*head, "", None, bound, 0, "", None, missing)
        return
    for run in runs:
        error, step, tensor = difference(our_path(case, peer, problem, run), theirs)
        passed = bool(error <= bound)
        yield Result(*head, run, error, bound, step, tensor, passed, case.peers[peer].note)


def our_outputs(case: FunctionCase, dtype: str, run: str) -> Arrays:
    """Return the outputs of the function of trainlib."""
    function: Any = lambda inputs: case.ours(dtype, **inputs)  # noqa: E731
    inputs = {name: tf.constant(x) for name, x in case.inputs(dtype).items()}
    if run != "eager":
        function = tf.function(function, jit_compile=run == "xla", autograph=False)
        function.get_concrete_function(inputs)  # a first call would count as a retrace
    return {name: np.asarray(x) for name, x in function(inputs).items()}


def peer_outputs(case: FunctionCase, peer: str, dtype: str) -> Arrays:
    """Return the outputs of a peer on the same inputs."""
    outputs = case.peers[peer](dtype, **case.inputs(dtype))
    return {name: np.asarray(x) for name, x in outputs.items()}


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest error relative to |theirs|, or to the bound that SMALL sets.

    Raises:
        ValueError: the arrays differ in shape.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"ours has shape {ours.shape}, the peer's has {theirs.shape}")
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    size = np.abs(theirs)
    finite = size[np.isfinite(size)]
    least = SMALL * finite.max() if finite.size and finite.max() > 0 else 1.0
    with np.errstate(invalid="ignore"):
        errors = np.where(same, 0.0, np.abs(ours - theirs) / np.maximum(size, least))
    worst = float(np.max(errors, initial=0.0))
    return worst if np.isfinite(worst) else float("inf")


def largest_error(ours: Arrays, theirs: Arrays) -> tuple[float, str]:
    """Return the largest error over the peer's arrays, and the name of its array."""
    return max((relative_error(ours[name], theirs[name]), name) for name in theirs)


def compare_function(
    case: FunctionCase,
    peer: str,
    dtype: str,
    runs: Sequence[str],
    runner: PeerRunner = THIS_PROCESS,
) -> Iterator[Result]:
    """Compare a function with a peer; yield one result for each of `runs` that the case has."""
    head = (case.kind, case.name, case.form, peer)
    bound = case.rounding.tolerances.get(dtype, TOLERANCES[dtype])
    needs = case.needs.get(peer, "")
    theirs, missing = _results(runner, peer, needs, lambda: runner.outputs(case, peer, dtype))
    if missing:
        yield Result(*head, "", None, bound, 0, "", None, missing)
        return
    for run in (run for run in runs if run in case.runs):
        error, tensor = largest_error(our_outputs(case, dtype, run), theirs)
        yield Result(*head, run, error, bound, 0, tensor, error <= bound, case.rounding.note)

"""What is compared of everything but optimizers: a pure function beside its peers' own.

The function is run on fixed inputs, in each of the ways of `ours.RUNS`, and its outputs are held
to those that a peer computes from the same inputs.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.verify.compare import TOLERANCES, Result
from trainlib.verify.problem import Arrays

EQUATION = "numpy"
"""The peer that stands for the published equation, where no library has the rule."""

SMALL = 1e-3
"""An element counts as at least this share of its array's largest: cosines end in differences of
almost equal numbers, whose relative error has no bound."""


class FunctionCase(NamedTuple):
    """A function of the registry in one form.

    kind, name: of the registry. form: what sets it apart, such as "staircase"; "" for plain.
    inputs: `(dtype) -> arrays`, the same at each call. ours: `(dtype, **inputs) -> dict of
    tensors`, a pure function of TensorFlow. peers: by "keras", "torch", "optax" or EQUATION,
    `(dtype, **inputs) -> dict of arrays`, computed in that dtype; what a peer leaves out is not
    compared with it. needs: by peer the name without which it cannot be run, such as
    "keras.losses.Circle". runs: where ours can be run. tolerances: by dtype, where they are not
    the usual ones, with the reason in `note`.
    """

    kind: str
    name: str
    form: str
    inputs: Callable[[str], Arrays]
    ours: Callable[..., dict[str, Any]]
    peers: dict[str, Callable[..., Arrays]]
    needs: dict[str, str] = {}
    runs: tuple[str, ...] = ("eager", "graph", "xla")
    tolerances: dict[str, float] = {}
    note: str = ""

    @property
    def title(self) -> str:
        """schedule: one_cycle, or schedule: one_cycle (linear)."""
        name = f"{self.name} ({self.form})" if self.form else self.name
        return f"{self.kind}: {name}"


def our_outputs(case: FunctionCase, dtype: str, run: str) -> Arrays:
    """What our function makes of the inputs."""
    function: Any = lambda inputs: case.ours(dtype, **inputs)  # noqa: E731
    if run != "eager":
        function = tf.function(function, jit_compile=run == "xla", autograph=False)
    inputs = {name: tf.constant(x) for name, x in case.inputs(dtype).items()}
    return {name: np.asarray(x) for name, x in function(inputs).items()}


def peer_outputs(case: FunctionCase, peer: str, dtype: str) -> Arrays:
    """What the peer makes of the inputs."""
    outputs = case.peers[peer](dtype, **case.inputs(dtype))
    return {name: np.asarray(x) for name, x in outputs.items()}


def why_missing(case: FunctionCase, peer: str) -> str:
    """Why a peer cannot be run here; "" where it can."""
    if importlib.util.find_spec(peer) is None:
        return f"{peer} is not installed: pip install trainlib[peers]"
    module, _, name = case.needs.get(peer, "").rpartition(".")
    if name and not hasattr(importlib.import_module(module), name):
        return f"{peer} {importlib.import_module(peer).__version__} does not have {name}"
    return ""


def error_of(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest error relative to |theirs|, where SMALL says what that is at least."""
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


def compare_function(
    case: FunctionCase, peer: str, dtype: str, runs: Sequence[str]
) -> Iterator[Result]:
    """The lines of a case and a peer; one for each of the runs that the case can be run in."""
    head = (case.kind, case.name, case.form, peer)
    bound = case.tolerances.get(dtype, TOLERANCES[dtype])
    missing = why_missing(case, peer)
    if missing:
        yield Result(*head, "", None, bound, 0, "", None, missing)
        return
    theirs = peer_outputs(case, peer, dtype)
    for run in (run for run in runs if run in case.runs):
        error, tensor = largest_error(our_outputs(case, dtype, run), theirs)
        yield Result(*head, run, error, bound, 0, tensor, error <= bound, case.note)


def largest_error(ours: Arrays, theirs: Arrays) -> tuple[float, str]:
    """The largest error of the arrays that the peer has, and the array's name."""
    return max((error_of(ours[name], theirs[name]), name) for name in theirs)

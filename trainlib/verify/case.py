"""Cases: an optimizer, or another pure function, in one form, and the peers that implement it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

from trainlib.verify.problem import Arrays

EQUATION = "numpy"
"""The peer for the published equation, if no library implements the function."""


class Peer(NamedTuple):
    """An optimizer of a peer library and its options.

    Attributes:
        name: a class of Keras or PyTorch, or a function of Optax.
        options: the peer's keyword arguments, by the peer's names.
        ours: options of the trainlib factory for this peer, in addition to those of the case.
        convention: the trainlib convention; None for the one that is named like the peer.
        read: what to compare instead of the parameters; see `run_peer`.
        patch: returns a context in which the peer runs, to remove a rounding error of the peer;
            `note` says which.
        note: a remark for the report.
    """

    name: str
    options: dict[str, Any] = {}
    ours: dict[str, Any] = {}
    convention: str | None = None
    read: Callable[..., Any] | None = None
    patch: Callable[[], contextlib.AbstractContextManager[Any]] | None = None
    note: str = ""


class OptimizerCase(NamedTuple):
    """An optimizer in one form.

    Attributes:
        optimizer: a name in the registry.
        form: what distinguishes the form, such as "amsgrad"; "" for the plain one.
        options: keyword arguments of the trainlib factory.
        peers: by "keras", "torch" and "optax".
        read: `(params, state) -> params to compare`; None compares the parameters.
        problem: arguments of `make_problem` that differ from its defaults.
    """

    optimizer: str
    form: str
    options: dict[str, Any]
    peers: dict[str, Peer]
    read: Callable[[Any, Any], Any] | None = None
    problem: dict[str, Any] = {}

    @property
    def title(self) -> str:
        """The name and the form: "adam" or "adam (amsgrad)"."""
        return f"{self.optimizer} ({self.form})" if self.form else self.optimizer


class Rounding(NamedTuple):
    """A different rounding in a peer, and the accepted error.

    Attributes:
        note: a remark for the report.
        tolerances: by dtype, where they differ from `TOLERANCES`.
    """

    note: str = ""
    tolerances: dict[str, float] = {}


ORDINARY = Rounding()
"""No remark, and the tolerances of every case."""


class FunctionCase(NamedTuple):
    """A function of the registry, other than an optimizer, in one form.

    Attributes:
        kind: a kind in the registry, such as "loss".
        name: a name in the registry.
        form: what distinguishes the form, such as "staircase"; "" for the plain one.
        inputs: `(dtype) -> arrays`, the same at each call.
        ours: `(dtype, **inputs) -> dict of tensors`, a pure function of TensorFlow.
        peers: by "keras", "torch", "optax" or EQUATION: `(dtype, **inputs) -> dict of arrays`,
            computed in that dtype. Outputs that a peer leaves out are not compared with it.
        needs: by peer, the dotted name that it must have, such as "keras.losses.Circle".
        runs: the modes in which `ours` can run.
        rounding: where a peer rounds differently.
    """

    kind: str
    name: str
    form: str
    inputs: Callable[[str], Arrays]
    ours: Callable[..., dict[str, Any]]
    peers: dict[str, Callable[..., Arrays]]
    needs: dict[str, str] = {}
    runs: tuple[str, ...] = ("eager", "graph", "xla")
    rounding: Rounding = ORDINARY

    @property
    def title(self) -> str:
        """The kind, name and form: "schedule: one_cycle (linear)"."""
        name = f"{self.name} ({self.form})" if self.form else self.name
        return f"{self.kind}: {name}"

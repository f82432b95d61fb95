"""What is compared: a rule of trainlib in one form, and the peers that have it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple


class Peer(NamedTuple):
    """A peer's name of a rule and its options.

    name: a class of Keras or PyTorch, or a function of Optax. options: its, by its own names.
    ours: options of our factory for this peer alone, on top of the case's. convention: ours, by
    default the peer's own name. read: what to compare, where it is not the parameters (see
    `run_peer`). patch: a context in which the peer runs, to lift a rounding of its own; `note`
    says which.
    """

    name: str
    options: dict[str, Any] = {}
    ours: dict[str, Any] = {}
    convention: str | None = None
    read: Callable[..., Any] | None = None
    patch: Callable[[], contextlib.AbstractContextManager[Any]] | None = None
    note: str = ""


class Case(NamedTuple):
    """A rule in one form.

    optimizer: a name of the registry. form: what sets it apart, such as "amsgrad"; "" for plain.
    options: of our factory. peers: by "keras", "torch" and "optax". read: `(params, state) ->
    params to compare`. problem: arguments of `make_problem`, where they are not the usual ones.
    """

    optimizer: str
    form: str
    options: dict[str, Any]
    peers: dict[str, Peer]
    read: Callable[[Any, Any], Any] | None = None
    problem: dict[str, Any] = {}

    @property
    def title(self) -> str:
        """adam, or adam (amsgrad)."""
        return f"{self.optimizer} ({self.form})" if self.form else self.optimizer

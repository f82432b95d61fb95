"""Trainers that the tests of a file use one after another, so that each is traced once."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import trainlib as tl


class TrainerPool:
    """Trainers that are lent in their first state.

    Args:
        make: function that returns a new trainer; its arguments tell the trainers apart.

    Example:
        POOL = TrainerPool(new_trainer)

        @pytest.fixture
        def make():
            with POOL.lending() as make:
                yield make
    """

    def __init__(self, make: Callable[..., tl.Trainer]) -> None:
        self.make = make
        self._free: dict[str, list[Any]] = collections.defaultdict(list)

    @contextlib.contextmanager
    def lending(self) -> Iterator[Callable[..., tl.Trainer]]:
        """Yield a function that lends a trainer; all are given back at the end of the block."""
        lent = []

        def lend(*args: Any, **options: Any) -> tl.Trainer:
            key = repr((args, sorted(options.items())))
            if self._free[key]:
                trainer, first = self._free[key].pop()
                trainer.state = first
            else:
                trainer = self.make(*args, **options)
                first = trainer.state
            lent.append((key, (trainer, first)))
            return trainer

        yield lend
        for key, item in lent:
            self._free[key].append(item)

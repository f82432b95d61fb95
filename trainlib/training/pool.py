"""`TrainerPool`: compiled programs, shared by runs whose computations differ only in numbers."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_integer
from trainlib.step.state import TrainState
from trainlib.training.programs import Programs


class SharedPrograms:
    """The programs that one trainer after another uses, and the numbers in them.

    Trainers may share programs only if their traces agree up to the values of the state and of
    these numbers; the key with which the caller leases programs from a pool must ensure it.

    Attributes:
        programs: the programs; None until the first trainer has made them.
    """

    def __init__(self) -> None:
        self.programs: Programs | None = None
        self._numbers: dict[str, tf.Variable] = {}

    def number(self, name: str, value: float | np.ndarray) -> tf.Variable:
        """Return the variable of a number, float64, which now has this value.

        Args:
            name: name of the number.
            value: a number, or an array of a shape that does not change.
        """
        array = np.asarray(value, np.float64)
        if name in self._numbers:
            self._numbers[name].assign(array)
        else:
            self._numbers[name] = tf.Variable(array, trainable=False, name=name)
        return self._numbers[name]

    def take(self, state: TrainState, make: Callable[[], Programs]) -> Programs:
        """Return the programs with a state in them.

        Args:
            state: the state before the first step.
            make: function that makes the programs with this state; called if there are none yet.

        Raises:
            ValueError: the state has another structure, other shapes or other dtypes.
        """
        if self.programs is None:
            self.programs = make()
        else:
            self.programs.restart(state)
        return self.programs


class TrainerPool:
    """Caches compiled programs, so that runs that differ only in numbers compile them once.

    `tl.run_trial` takes a pool. Trials share the programs of their training and their evaluation
    if they agree in all that the programs contain: the architecture of the model, the loss, the
    metrics, the kind of the optimizer, the precision and the batch size. Learning rates and
    schedules, hyperparameters of the optimizer, dropout rates (not those of stochastic depth),
    factors of regularizers, bounds of clipping, class weights, seeds, initial weights, the means
    and variances that scale columns and the data themselves may differ. Programs are used by one
    trial at a time.

    Args:
        size: number of kinds of trials whose programs are kept, at least 1; the programs that were
            not used for the longest time are dropped. Default: 64.

    Attributes:
        size: as above.
        misses: number of trials for which there were no programs, so that they were compiled.

    Raises:
        ValueError, TypeError: the size is no integer of at least 1.

    Example:
        >>> import dataclasses
        >>> pool = tl.TrainerPool()
        >>> config = tl.ExperimentConfig(
        ...     data=tl.DataConfig(train_examples=64), model=tl.config("mlp", hidden=[8]), epochs=1
        ... )
        >>> for rate in (1e-2, 1e-3):
        ...     optimizer = tl.config("adam", learning_rate=rate)
        ...     result = tl.run_trial(dataclasses.replace(config, optimizer=optimizer), pool=pool)
        >>> len(pool), pool.misses
        (1, 1)
    """

    def __init__(self, size: int = 64) -> None:
        check_integer("size", size, at_least=1)
        self.size = size
        self.misses = 0
        self._idle: OrderedDict[str, SharedPrograms] = OrderedDict()

    def __len__(self) -> int:
        return len(self._idle)

    @property
    def traces(self) -> int:
        """Number of functions that were traced for the programs that are kept."""
        return sum(x.programs.traces for x in self._idle.values() if x.programs is not None)

    @contextlib.contextmanager
    def lease(self, key: str | None) -> Iterator[SharedPrograms]:
        """Lend the programs of a key, which then belong to the caller until the context ends.

        Args:
            key: text that identifies everything that the programs contain; equal keys share
                programs. None for new programs that are not kept.
        """
        shared = None if key is None else self._idle.pop(key, None)
        if shared is None:
            self.misses += 1
            shared = SharedPrograms()
        try:
            yield shared
        finally:
            if key is not None and shared.programs is not None:
                self._idle[key] = shared
                self._idle.move_to_end(key)
                while len(self._idle) > self.size:
                    self._idle.popitem(last=False)

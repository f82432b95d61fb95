"""`ChangedExamples`: the examples of an epoch as an augmentation changes them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from trainlib.core.types import Tensor, Tree
from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.array_tensors import take_rows
from trainlib.training.chunks import map_tree
from trainlib.training.data_adapter import DataAdapter

KEPT_BYTES = 2**29
"""Size in bytes up to which augmented examples are cached for an epoch in which they are mixed."""


class ChangedExamples:
    """The examples of an epoch as an augmentation changes them, before they are mixed.

    An example is changed when it is first needed, as itself or as the partner of another one. If
    all of them fit into the cache, none is changed twice.

    Args:
        change: function `(ids, examples) -> examples` that augments examples without mixing.
        data: the adapter of the training data.
        position: the seed and the epoch, two int64 scalars.
        keeps: whether changed examples are cached, because they may be needed again.

    Attributes:
        data, position: as above.
    """

    def __init__(
        self,
        change: Callable[[np.ndarray, Tree], Tree],
        data: DataAdapter,
        position: tuple[Tensor, Tensor],
        keeps: bool,
    ) -> None:
        self.changed, self.data, self.position = change, data, position
        self._rows: Tree = None
        self._has = np.zeros(0, bool)
        if keeps and isinstance(data, ArrayAdapter) and data.nbytes <= KEPT_BYTES:
            self._has = np.zeros(data.size, bool)

    def pairs(self, ids: np.ndarray, examples: Tree, partners: np.ndarray) -> tuple[Tree, Tree]:
        """Return examples, and the partners with which they are mixed, both changed."""
        assert isinstance(self.data, ArrayAdapter)
        if not len(self._has):
            return self.changed(ids, examples), self.changed(partners, self.data.take(partners))
        both = np.unique(np.concatenate([ids, partners]))
        missing = both[~self._has[both]]
        if len(missing):
            self._keep(missing, self.changed(missing, self.data.take(missing)))
        return self._kept(ids), self._kept(partners)

    def _keep(self, ids: np.ndarray, changed: Tree) -> None:
        """Put changed examples into the cache."""
        found = map_tree(np.asarray, changed)
        if self._rows is None:
            size = len(self._has)
            self._rows = map_tree(lambda a: np.empty((size, *a.shape[1:]), a.dtype), found)
        for rows, new in zip(tf.nest.flatten(self._rows), tf.nest.flatten(found), strict=True):
            rows[ids] = new
        self._has[ids] = True

    def _kept(self, ids: np.ndarray) -> Tree:
        """Return examples of the cache."""
        return map_tree(lambda a: take_rows(a, ids), self._rows)

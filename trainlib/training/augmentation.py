"""`Augmentation`, a random change of training examples, and `Augmenter`, which makes it.

Chunks are augmented between the data adapter and the steps, in a thread that is a part of a chunk
ahead. The programs of the steps, evaluation and prediction are the same without augmentation.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_not_class
from trainlib.core.random import example_keys, fold_in, integers
from trainlib.core.types import Tensor, Tree
from trainlib.step.mixed_targets import mix_targets
from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.changed_examples import ChangedExamples
from trainlib.training.chunks import Chunk, length_of, map_tree, parts_of, prefetch, specs_of
from trainlib.training.data_adapter import DataAdapter

PART_BYTES = 2**20
"""Approximate bytes of examples that are augmented together: as floats they fit a CPU's cache."""
PARTNER, MIX = (zlib.crc32(name.encode()) for name in ("partner", "mix"))
"""Numbers that are folded into keys: for the choice of partners, and for their mixing."""

AugmentFunction: TypeAlias = Callable[[Tree, Tree, Tensor], tuple[Tree, Tree]]
"""`(x, y, key) -> (x, y)` of many examples, with `key` int64 [n, 2]."""
MixFunction: TypeAlias = Callable[[Tree, Tree, Tensor], tuple[Tree, Tensor]]
"""`(x, other x, key) -> (mixed x, share)` of many examples, with the share of `x`, [n]."""


class Augmentation(NamedTuple):
    """A random change of training examples, as `tl.augmentation.chain` makes it.

    Attributes:
        function: `(x, y, key) -> (x, y)`, which changes n examples; `key` is int64 [n, 2]. The
            result for an example must depend on its row and its key only.
        name: text that identifies the augmentation. It is stored in checkpoints, and a run must be
            resumed with the same one.
        mix: `(x, other x, key) -> (mixed x, share)`, which mixes each example with another one;
            `share` of the first, [n], is in [0, 1]. Losses are mixed by the same shares. Default:
            None, examples are not mixed.

    Example:
        >>> def brighter(x, y, key):
        ...     return x + tl.augmentation.uniform(key, 1), y
        >>> augmentation = tl.augmentation.Augmentation(brighter, "brighter")
    """

    function: AugmentFunction
    name: str
    mix: MixFunction | None = None


def as_augmentation(value: Any) -> Augmentation | None:
    """Return the `augment` of a trainer as an `Augmentation`; None for none.

    Raises:
        TypeError: it is neither an `Augmentation` nor a function.
    """
    if value is None or isinstance(value, Augmentation):
        return value
    check_not_class("augment", "a function (x, y, key) -> (x, y)", value)
    if isinstance(value, keras.Layer):
        raise TypeError(
            f"augment must be a function (x, y, key) -> (x, y), got the Keras layer {value.name}, "
            "whose draws depend on the batches: use tl.augmentation.chain, or put the layer into "
            "the model"
        )
    if not callable(value):
        raise TypeError(f"augment must be a function (x, y, key) -> (x, y), got {value!r}")
    function = value.func if isinstance(value, functools.partial) else value
    names = [getattr(function, part, "") for part in ("__module__", "__qualname__")]
    return Augmentation(value, ":".join(filter(None, names)) or type(value).__name__)


class Augmenter:
    """Augments the chunks of the epochs of a trainer.

    The key of an example depends on the seed, the epoch and the id of the example only. So the
    example is changed in the same way for any batch size, order of examples, number of replicas and
    point of a resume. The key also chooses the example that it is mixed with: one of all training
    examples if they are arrays, one of the same batch in a stream.

    Args:
        augmentation: the augmentation of the examples.
        local_rows: function `batch_size -> rows`, the rows of a batch that this process trains on,
            in ascending order: each of several workers augments only its rows. Default: None, all
            rows.

    Attributes:
        augmentation: as above.
    """

    def __init__(
        self, augmentation: Augmentation, local_rows: Callable[[int], np.ndarray] = np.arange
    ) -> None:
        self.augmentation = augmentation
        self._local_rows = local_rows
        self._compiled: dict[str, Any] = {}
        self._checked = False

    def __call__(
        self, chunks: Iterator[Chunk], data: DataAdapter, seed: int, epoch: int
    ) -> Iterator[Chunk]:
        """Yield the augmented chunks of an epoch in parts, each made while the last one is in use.

        Args:
            chunks: chunks of the epoch, from `data`.
            data: the adapter of the training data.
            seed: the seed of the trainer.
            epoch: number of the epoch, from 0 on.
        """
        parts = (part for chunk in chunks for part in parts_of(chunk, PART_BYTES))
        examples = self._epoch_examples(data, seed, epoch)
        return prefetch(self._augment_local(part, examples) for part in parts)

    def examples(self, ids: np.ndarray, data: ArrayAdapter, seed: int, epoch: int) -> Tree:
        """Return some examples of arrays as they are augmented in an epoch.

        Args:
            ids: indices of the examples.
            data: the arrays.
            seed: the seed of the trainer.
            epoch: number of the epoch, from 0 on.
        """
        part = Chunk(data.take(ids), len(ids), len(ids), last=True, ids=ids)
        return self._augment(part, self._epoch_examples(data, seed, epoch)).examples

    def _epoch_examples(self, data: DataAdapter, seed: int, epoch: int) -> ChangedExamples:
        """Return the examples of an epoch, changed when they are needed."""
        position = tf.constant(seed, tf.int64), tf.constant(epoch, tf.int64)
        keeps = self.augmentation.mix is not None
        return ChangedExamples(functools.partial(self._change, *position), data, position, keeps)

    def _augment_local(self, part: Chunk, epoch: ChangedExamples) -> Chunk:
        """Return a part of a chunk whose rows of this process are augmented.

        Rows of other workers hold copies of these, which nothing reads.
        """
        rows = self._local_rows(part.rows)
        if len(rows) == part.rows:
            return self._augment(part, epoch)
        assert part.ids is not None
        starts = np.arange(0, len(part.ids), part.rows)
        local = (starts[:, np.newaxis] + rows).ravel()
        mine = map_tree(lambda a: tf.gather(a, local), part.examples)
        mine = part._replace(examples=mine, rows=len(rows), ids=part.ids[local])
        places = np.minimum(np.searchsorted(local, np.arange(len(part.ids))), len(local) - 1)
        augmented = self._augment(mine, epoch).examples
        return part._replace(examples=map_tree(lambda a: tf.gather(a, places), augmented))

    def _augment(self, part: Chunk, epoch: ChangedExamples) -> Chunk:
        """Return a part of a chunk, augmented."""
        assert part.ids is not None
        if self.augmentation.mix is None:
            return part._replace(examples=epoch.changed(part.ids, part.examples))
        ids, data = tf.constant(part.ids, tf.int64), epoch.data
        if isinstance(data, ArrayAdapter):
            size = tf.constant(data.size, tf.int64)
            partners = self._call_traced(_partners, *epoch.position, ids, size).numpy()
            examples, others = epoch.pairs(part.ids, part.examples, partners)
        else:
            examples = epoch.changed(part.ids, part.examples)
            rows = tf.constant(part.rows, tf.int64)
            others = self._call_traced(_others_of_batch, *epoch.position, ids, examples, rows)
        mixed = self._call_traced(self._mixed, *epoch.position, ids, examples, others)
        self._check_count(mixed, len(part.ids))
        return part._replace(examples=mixed)

    def _change(self, seed: Tensor, epoch: Tensor, ids: np.ndarray, examples: Tree) -> Tree:
        """Return examples, changed but not mixed.

        Raises:
            ValueError: as `_check_count`; and once, for the first examples, as `_check_alone`.
        """
        given = tf.constant(ids, tf.int64)
        changed = self._call_traced(self._changed, seed, epoch, given, examples)
        self._check_count(changed, len(ids))
        if not self._checked and self.augmentation.mix is None and len(ids) > 2:
            self._checked = True
            first = map_tree(lambda a: a[:2], examples)
            # Eagerly: a traced function repeats the numbers that NumPy drew while it was traced.
            self._check_alone(changed, self._changed(seed, epoch, given[:2], first))
        return changed

    def _check_alone(self, changed: Tree, alone: Tree) -> None:
        """Raise `ValueError` if a row of the result depends on more than its own row and key.

        Args:
            changed: examples, changed together.
            alone: the first two of them, changed alone.
        """
        for a, b in zip(tf.nest.flatten(changed), tf.nest.flatten(alone), strict=True):
            first, b = a[:2].numpy(), np.asarray(b)
            if first.shape[1:] != b.shape[1:] or not _nearly_all_close(first, b):
                raise ValueError(
                    f"augment {self.augmentation.name}: the result for an example depends on "
                    "other examples, or on random numbers of another source: compute it from its "
                    "row and its key alone, as tl.augmentation.uniform(key, 1) does"
                )

    def _check_count(self, examples: Tree, size: int) -> None:
        """Raise `ValueError` unless there is a result for each example."""
        found = length_of("the augmented examples", examples)
        if found != size:
            raise ValueError(
                f"augment {self.augmentation.name} returned {found} examples of {size}: return one "
                "for each"
            )

    def _changed(self, seed: Tensor, epoch: Tensor, ids: Tensor, examples: Tree) -> Tree:
        """Return examples (x, y) or (x, y, sample_weight) with x and y changed."""
        x, y, *weight = examples
        return *self.augmentation.function(x, y, example_keys(seed, epoch, ids)), *weight

    def _mixed(
        self, seed: Tensor, epoch: Tensor, ids: Tensor, examples: Tree, others: Tree
    ) -> Tree:
        """Return changed examples, mixed with others."""
        assert self.augmentation.mix is not None
        x, *rest = examples
        other_x, *others_rest = others
        key = fold_in(example_keys(seed, epoch, ids), MIX)
        mixed, share = self.augmentation.mix(x, other_x, key)
        return mixed, *mix_targets(tuple(rest), tuple(others_rest), share)

    def _call_traced(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function, traced once for all numbers of examples."""
        specs = [_spec(argument) for argument in arguments]
        key = f"{function.__name__} {specs!r}"
        if key not in self._compiled:
            compiled: Any = tf.function(
                lambda *given: function(*given), input_signature=specs, autograph=False
            )
            compiled.get_concrete_function()
            self._compiled[key] = compiled
        return self._compiled[key](*arguments)


def _nearly_all_close(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether nine tenths of the numbers agree, but for rounding."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    rounding = 1e-3 * np.max(np.abs(a), initial=1.0)
    return bool(np.mean(np.isclose(a, b, rtol=0, atol=rounding, equal_nan=True)) >= 0.9)


def _partners(seed: Tensor, epoch: Tensor, ids: Tensor, size: Tensor) -> Tensor:
    """Return the indices of the examples with which some are mixed."""
    return integers(fold_in(example_keys(seed, epoch, ids), PARTNER), size)


def _others_of_batch(
    seed: Tensor, epoch: Tensor, ids: Tensor, examples: Tree, rows: Tensor
) -> Tree:
    """Return for each example another one of its batch of `rows` examples."""
    position = tf.range(tf.size(ids, tf.int64), dtype=tf.int64)
    chosen = position - position % rows + _partners(seed, epoch, ids, rows)
    return map_tree(lambda a: tf.gather(a, chosen), examples)


def _spec(argument: Any) -> Any:
    """Return the specs of an argument: a scalar, or examples of any number."""
    if tf.is_tensor(argument) and argument.shape.rank == 0:
        return tf.TensorSpec([], argument.dtype)
    return specs_of(argument)

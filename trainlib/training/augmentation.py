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
from trainlib.training.chunks import Chunk, length_of, map_tree, parts_of, prefetch, specs_of
from trainlib.training.data_adapter import DataAdapter

PART_BYTES = 2**22
"""Approximate size of the examples that are augmented at once."""
PARTNER, MIX = (zlib.crc32(name.encode()) for name in ("partner", "mix"))
"""Numbers that are folded into keys: for the choice of partners, and for their mixing."""

AugmentFunction: TypeAlias = Callable[[Tree, Tree, Tensor], tuple[Tree, Tree]]
"""`(x, y, key) -> (x, y)` of many examples, with `key` int64 [n, 2]."""
MixFunction: TypeAlias = Callable[[Tree, Tree, Tensor], tuple[Tree, Tensor]]
"""`(x, other x, key) -> (mixed x, share)` of many examples, with the share of `x`, [n]."""


class Augmentation(NamedTuple):
    """A random change of training examples, as `tl.augmentation.chain` makes it.

    Attributes:
        function: `(x, y, key) -> (x, y)`: changes many examples, of which each has a key, int64
            [n, 2]. What becomes of an example follows from its row and its key alone.
        name: text that identifies it, which checkpoints hold: a run is resumed with the same.
        mix: `(x, other x, key) -> (mixed x, share)`: mixes each example with another one; the
            share of the first is in [0, 1]. Losses are mixed by the same shares. Default: None,
            examples are not mixed.

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

    An example is changed in the same way whatever the batch size, the order of the examples, the
    number of replicas and the point at which a run was resumed: its key follows from the seed, the
    epoch and its id alone. It is mixed with another example that the key chooses: of all training
    examples if they are arrays, of its own batch in a stream, where no others are known.

    Args:
        augmentation: the change of the examples.
        local_rows: `batch_size -> rows` of a batch that this process trains on, in ascending order;
            of several workers each augments its own rows. Default: all rows.

    Attributes:
        augmentation: the same.
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
        """Yield the chunks of an epoch in parts, augmented, each while the one before is in use.

        Args:
            chunks: those of the adapter.
            data: the adapter.
            seed: the seed of the trainer.
            epoch: number of the epoch, from 0 on.
        """
        parts = (part for chunk in chunks for part in parts_of(chunk, PART_BYTES))
        position = tf.constant(seed, tf.int64), tf.constant(epoch, tf.int64)
        return prefetch(self._augment_local(part, data, position) for part in parts)

    def examples(self, ids: np.ndarray, data: ArrayAdapter, seed: int, epoch: int) -> Tree:
        """Return some examples of arrays as they are in an epoch.

        Args:
            ids: indices of the examples.
            data: the arrays.
            seed: the seed of the trainer.
            epoch: number of the epoch, from 0 on.
        """
        part = Chunk(data.take(ids), len(ids), len(ids), last=True, ids=ids)
        position = tf.constant(seed, tf.int64), tf.constant(epoch, tf.int64)
        return self._augment(part, data, position).examples

    def _augment_local(
        self, part: Chunk, data: DataAdapter, position: tuple[Tensor, Tensor]
    ) -> Chunk:
        """Return a part of a chunk whose rows of this process are augmented.

        Rows of other workers hold copies of these, which nothing reads.
        """
        rows = self._local_rows(part.rows)
        if len(rows) == part.rows:
            return self._augment(part, data, position)
        assert part.ids is not None
        starts = np.arange(0, len(part.ids), part.rows)
        local = (starts[:, np.newaxis] + rows).ravel()
        mine = map_tree(lambda a: tf.gather(a, local), part.examples)
        mine = part._replace(examples=mine, rows=len(rows), ids=part.ids[local])
        places = np.minimum(np.searchsorted(local, np.arange(len(part.ids))), len(local) - 1)
        augmented = self._augment(mine, data, position).examples
        return part._replace(examples=map_tree(lambda a: tf.gather(a, places), augmented))

    def _augment(self, part: Chunk, data: DataAdapter, position: tuple[Tensor, Tensor]) -> Chunk:
        """Return a part of a chunk, augmented."""
        assert part.ids is not None
        ids = tf.constant(part.ids, tf.int64)
        others: Any = ()
        if self.augmentation.mix is not None and isinstance(data, ArrayAdapter):
            partners = self._compile(_partners, *position, ids, tf.constant(data.size, tf.int64))
            others = (partners, data.take(partners.numpy()))
        rows = tf.constant(part.rows, tf.int64)
        arguments = (*position, ids, part.examples, others, rows)
        examples = self._compile(self._augmented, *arguments)
        self._check(arguments, examples)
        return part._replace(examples=examples)

    def _check(self, arguments: tuple[Any, ...], examples: Tree) -> None:
        """Raise `ValueError` unless a row of the result follows from its own row and key.

        The first two examples are augmented alone once, and compared.
        """
        name, size = self.augmentation.name, int(arguments[2].shape[0])
        found = length_of("the augmented examples", examples)
        if found != size:
            raise ValueError(
                f"augment {name} returned {found} examples of {size}: return one for each"
            )
        if self._checked or self.augmentation.mix is not None or size < 3:
            return
        self._checked = True
        seed, epoch, ids, given, others, rows = arguments
        first = map_tree(lambda a: a[:2], given)
        alone = self._compile(self._augmented, seed, epoch, ids[:2], first, others, rows)
        for a, b in zip(tf.nest.flatten(examples), tf.nest.flatten(alone), strict=True):
            if a.shape[1:] != b.shape[1:] or not _nearly_all_close(a[:2].numpy(), b.numpy()):
                raise ValueError(
                    f"augment {name}: what becomes of an example depends on other examples, or on "
                    "random numbers of another source: compute it from its row and its key alone, "
                    "as tl.augmentation.uniform(key, 1) does"
                )

    def _augmented(
        self,
        seed: Tensor,
        epoch: Tensor,
        ids: Tensor,
        examples: Tree,
        others: Tree,
        rows: Tensor,
    ) -> Tree:
        """Return examples, augmented.

        Args:
            seed, epoch: of the keys.
            ids: those of the examples.
            examples: (x, y) or (x, y, sample_weight).
            others: the ids and the examples to mix them with; () for those of their batch.
            rows: examples per batch.
        """
        change, _, mix = self.augmentation
        key = example_keys(seed, epoch, ids)
        x, y, *weight = examples
        x, y = change(x, y, key)
        if mix is None:
            return x, y, *weight
        if others:
            partners, (other_x, *others_rest) = others
            other_x, others_rest[0] = change(
                other_x, others_rest[0], example_keys(seed, epoch, partners)
            )
        else:
            position = tf.range(tf.size(ids, tf.int64), dtype=tf.int64)
            chosen = position - position % rows + integers(fold_in(key, PARTNER), rows)
            other_x, *others_rest = map_tree(lambda a: tf.gather(a, chosen), (x, y, *weight))
        mixed, share = mix(x, other_x, fold_in(key, MIX))
        return mixed, *mix_targets((y, *weight), tuple(others_rest), share)

    def _compile(self, function: Callable[..., Any], *arguments: Any) -> Any:
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


def _spec(argument: Any) -> Any:
    """Return the specs of an argument: a scalar, or examples of any number."""
    if tf.is_tensor(argument) and argument.shape.rank == 0:
        return tf.TensorSpec([], argument.dtype)
    return specs_of(argument)

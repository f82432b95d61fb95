"""`ShapeLimit`: a limit on the number of shapes that programs are traced for."""

from __future__ import annotations

import warnings

import tensorflow as tf

from trainlib.core.types import Tree

MAX_SHAPES = 32
"""Number of shapes of batches with a separate program; one program takes all other shapes."""


class ShapeLimit:
    """Opens axes of specs once batches have had many shapes, so that few programs are traced.

    Args:
        max_shapes: number of shapes with a separate program. Default: `MAX_SHAPES`.
    """

    def __init__(self, max_shapes: int = MAX_SHAPES) -> None:
        self._max_shapes = max_shapes
        self._seen: dict[str, list[list[tf.TensorShape]]] = {}

    def __call__(self, specs: Tree) -> Tree:
        """Return the specs to trace a program for: these, or with the axes open that have varied.

        Args:
            specs: structure of `tf.TensorSpec`s of a batch.
        """
        shapes = [spec.shape for spec in tf.nest.flatten(specs)]
        kind = str(tf.nest.map_structure(lambda spec: (spec.dtype.name, spec.shape.rank), specs))
        seen = self._seen.setdefault(kind, [])
        if shapes in seen[: self._max_shapes]:
            return specs
        seen.append(shapes)
        if len(seen) <= self._max_shapes:
            return specs
        if len(seen) == self._max_shapes + 1:
            warnings.warn(
                f"batches have had {len(seen)} shapes: one program takes all others from here on. "
                "Steps are faster with fewer shapes: pad batches to a few, as "
                "bucket_by_sequence_length(..., pad_to_bucket_boundary=True) of tf.data does",
                stacklevel=2,
            )
        seen[self._max_shapes :] = [[_common(*leaf) for leaf in zip(*seen, strict=True)]]
        opened = [
            tf.TensorSpec(shape, spec.dtype)
            for shape, spec in zip(seen[-1], tf.nest.flatten(specs), strict=True)
        ]
        return tf.nest.pack_sequence_as(specs, opened)


def _common(*shapes: tf.TensorShape) -> tf.TensorShape:
    """Return the shape with the axes open in which the shapes differ."""
    axes = zip(*(shape.as_list() for shape in shapes), strict=True)
    return tf.TensorShape([sizes[0] if len(set(sizes)) == 1 else None for sizes in axes])

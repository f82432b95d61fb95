"""Precision policies: in which dtype a model computes, and in which its parameters are kept.

    y = float32(f(half(w), half(x))),    g = dL/dw = float32(dL/d half(w))

half: the compute dtype; w, g, the statistics and y: in the dtype of the parameters. Updates of less
than about w / 2^8 would be lost on a bfloat16 parameter, of less than w / 2^11 on a float16 one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice
from trainlib.core.types import Tensor, Tree
from trainlib.step.state import ApplyFn, ModelOutput


class Precision(NamedTuple):
    """name: as Keras names its policies. compute_dtype: of the model's arithmetic.

    param_dtype: of the parameters, their gradients, the model's other state, and its outputs.
    """

    name: str
    compute_dtype: str
    param_dtype: str


PRECISIONS: Mapping[str, Precision] = {
    "float32": Precision("float32", "float32", "float32"),
    "float64": Precision("float64", "float64", "float64"),
    "mixed_bfloat16": Precision("mixed_bfloat16", "bfloat16", "float32"),
    "mixed_float16": Precision("mixed_float16", "float16", "float32"),
}
"""float16 overflows above 65504 and underflows below 6e-8: it needs a loss scale. It is for GPUs:
on a CPU its convolutions can be hundreds of times slower than those of float32."""


def precision_named(name: str) -> Precision:
    """The policy of that name.

    Raises:
        ValueError: there is none.
    """
    check_choice("precision", name, PRECISIONS)
    return PRECISIONS[name]


def cast_floating(tree: Tree, dtype: str) -> Tree:
    """The structure with its floating tensors in that dtype; whatever else is in it stays."""

    def cast(x: Tensor) -> Tensor:
        floating = hasattr(x, "dtype") and tf.as_dtype(x.dtype).is_floating
        return tf.cast(x, dtype) if floating else x

    return tf.nest.map_structure(cast, tree)


def in_precision(apply_fn: ApplyFn, precision: Precision) -> ApplyFn:
    """The model's function, computed in a policy's compute dtype.

    The function is given the parameters and its floating inputs in the compute dtype, and the
    model's state as it is: statistics averaged in bfloat16 would stand still. What it returns is
    cast back, the new state to the dtypes of the old, all else to that of the parameters.

    Args:
        apply_fn: `(params, model_state, x, training) -> ModelOutput`.
        precision: the policy.
    """

    def apply(params: Tree, model_state: Tree, x: Tree, training: bool) -> ModelOutput:
        params, x = cast_floating((params, x), precision.compute_dtype)
        forward = apply_fn(params, model_state, x, training=training)
        y_pred, penalty = cast_floating((forward.y_pred, forward.penalty), precision.param_dtype)
        return ModelOutput(y_pred, _like(forward.model_state, model_state), penalty)

    return apply


def _like(new: Tree, old: Tree) -> Tree:
    """The new state in the dtypes of the old one."""
    return tf.nest.map_structure(lambda x, y: tf.cast(x, y.dtype), new, old, check_types=False)

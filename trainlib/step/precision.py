"""Precision policies: the dtypes of a model's arithmetic and of its parameters.

    y = float32(f(half(w), half(x))),    g = dL/dw = float32(dL/d half(w))

half: the compute dtype; w, g, the statistics and y are in the dtype of the parameters. Updates
below about w / 2^8 would be lost on a bfloat16 parameter, below w / 2^11 on a float16 one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice
from trainlib.core.types import Tensor, Tree
from trainlib.step.state import ApplyFn, ModelOutput


class Precision(NamedTuple):
    """A precision policy; the predefined ones are in `PRECISIONS`.

    Attributes:
        name: the name of the policy in Keras.
        compute_dtype: the dtype of the model's arithmetic.
        param_dtype: the dtype of the parameters, their gradients, the model's other state and its
            outputs.

    Example:
        >>> tl.PRECISIONS["mixed_bfloat16"].compute_dtype
        'bfloat16'
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
"""The precision policies by name. float16 overflows above 65504 and underflows below 6e-8, so it
needs a loss scale. It is for GPUs: on a CPU its convolutions can be hundreds of times slower than
those of float32."""


def precision_named(name: str) -> Precision:
    """Return the precision policy of a name.

    Raises:
        ValueError: there is no policy of that name.
    """
    check_choice("precision", name, PRECISIONS)
    return PRECISIONS[name]


def cast_floating(tree: Tree, dtype: str) -> Tree:
    """Return a structure with its floating tensors cast to a dtype; other leaves are unchanged."""

    def cast(x: Tensor) -> Tensor:
        floating = hasattr(x, "dtype") and tf.as_dtype(x.dtype).is_floating
        return tf.cast(x, dtype) if floating else x

    return tf.nest.map_structure(cast, tree)


def in_precision(apply_fn: ApplyFn, precision: Precision) -> ApplyFn:
    """Return a model function that computes in the compute dtype of a precision policy.

    The parameters and the floating inputs are cast to the compute dtype. The model state is not:
    statistics averaged in bfloat16 would stop changing. The new state is cast to the dtypes of the
    old one, the predictions and the penalty to the dtype of the parameters. Parameters that the
    function returns as they were given keep their values.

    Args:
        apply_fn: the model, `(params, model_state, x, training) -> ModelOutput`.
        precision: the policy, such as `PRECISIONS["mixed_bfloat16"]`.

    Returns:
        A function like `apply_fn`.

    Example:
        >>> def apply_fn(params, model_state, x, training):
        ...     print(x.dtype.name)
        ...     return tl.ModelOutput(x * params)
        >>> in_half = tl.in_precision(apply_fn, tl.PRECISIONS["mixed_bfloat16"])
        >>> in_half(tf.constant(2.0), (), tf.constant([3.0]), training=False).y_pred.dtype.name
        bfloat16
        'float32'
    """

    def apply(params: Tree, model_state: Tree, x: Tree, training: bool) -> ModelOutput:
        cast_params, x = cast_floating((params, x), precision.compute_dtype)
        output = apply_fn(cast_params, model_state, x, training=training)
        y_pred, penalty = cast_floating((output.y_pred, output.penalty), precision.param_dtype)
        if output.params is not None:
            output = output._replace(params=_cast_assigned(output.params, cast_params, params))
        return output._replace(
            y_pred=y_pred, model_state=_cast_like(output.model_state, model_state), penalty=penalty
        )

    return apply


def _cast_like(new: Tree, old: Tree) -> Tree:
    """Return the new state in the dtypes of the old one."""
    return tf.nest.map_structure(lambda x, y: tf.cast(x, y.dtype), new, old, check_types=False)


def _cast_assigned(new: Tree, given: Tree, old: Tree) -> Tree:
    """Return the old parameters, and in their dtypes those that are not as they were given."""

    def cast(x: Tensor, given: Tensor, old: Tensor) -> Tensor:
        return old if x is given else tf.cast(x, old.dtype)

    return tf.nest.map_structure(cast, new, given, old, check_types=False)

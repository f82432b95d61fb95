"""Structures of tensors: the few operations that every rule needs."""

from __future__ import annotations

import numbers
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf


def compute_dtype(dtype: Any) -> Any:
    """The dtype in which moments, powers and updates run: float32, or wider for wider tensors."""
    dtype = tf.as_dtype(dtype)
    if not dtype.is_floating:
        raise TypeError(f"expected floating tensors, got one of dtype {dtype.name}")
    return tf.float64 if dtype == tf.float64 else tf.float32


def widen(x: Any) -> Any:
    """A tensor in its compute dtype; rows of `tf.IndexedSlices` are summed into a dense tensor."""
    x = tf.convert_to_tensor(x)
    return tf.cast(x, compute_dtype(x.dtype))


def zeros_like(params: Any) -> Any:
    """Zeros of the parameters' shapes, in their compute dtypes."""
    return full_like(params, 0.0)


def full_like(params: Any, value: float) -> Any:
    """A constant in the parameters' shapes, in their compute dtypes; None where a leaf is None."""

    def full(w: Any) -> Any:
        return None if w is None else tf.fill(tf.shape(w), scalar(value, widen(w)))

    return tf.nest.map_structure(full, params)


def scalar(x: Any, like: Any) -> Any:
    """A number or scalar tensor in the dtype of the tensor `like`.

    A Python number goes straight to that dtype: `tf.cast(0.999, tf.float64)` would round it to
    float32 on the way.
    """
    return tf.cast(x, like.dtype) if tf.is_tensor(x) else tf.constant(x, like.dtype)


def float64(x: Any) -> Any:
    """A number or a scalar tensor in float64."""
    return tf.cast(x, tf.float64) if tf.is_tensor(x) else tf.constant(x, tf.float64)


def global_norm(tensors: Any) -> Any:
    """sqrt(sum of squares) over all the leaves, as a scalar in the widest of their dtypes."""
    squares = [
        tf.reduce_sum(tf.square(widen(x))) for x in tf.nest.flatten(tensors) if x is not None
    ]
    return tf.sqrt(total(squares))


def total(scalars: list[Any]) -> Any:
    """The sum of scalar tensors in the widest of their dtypes; a float32 0 where there are none."""
    if not scalars:
        return tf.constant(0.0)
    wide = max((x.dtype for x in scalars), key=lambda dtype: dtype.size)
    return tf.add_n([tf.cast(x, wide) for x in scalars])


def check_same_structure(name: str, expected: Any, other_name: str, other: Any) -> None:
    """Raises `ValueError` where two structures differ; a list and a tuple count as the same."""
    try:
        tf.nest.assert_same_structure(_as_lists(expected), _as_lists(other))
    except (TypeError, ValueError):
        raise ValueError(
            f"{other_name} must have the structure of {name}: got {_outline(other)}, "
            f"expected {_outline(expected)}"
        ) from None


def _as_lists(structure: Any) -> Any:
    """A structure with its sequences as lists and its mappings, whose keys count, as dicts."""
    if isinstance(structure, Mapping):
        return {key: _as_lists(x) for key, x in structure.items()}
    if isinstance(structure, (list, tuple)):
        return [_as_lists(x) for x in structure]
    return structure


def leafwise(
    rule: Callable[..., tuple[Any, ...]],
    grads: Any,
    *slots: Any,
    params: Any = None,
    **scalars: Any,
) -> tuple[Any, ...]:
    """Maps a rule on one tensor over whole structures.

    For each leaf calls `rule(g, *slots, **scalars)`, which returns `(u, *slots)`; with `params`
    the rule is also given the parameter, as `w`. Gradients and parameters come to the rule in
    their compute dtype, scalar tensors are cast to it, and Python numbers stay numbers, so that
    TensorFlow rounds each of them once. Where the gradient is `None` the update is `None` and
    the slots stay.

    Returns one structure for the updates and one for each of the slots.
    """
    flat_grads = tf.nest.flatten(grads)
    if flat_grads and all(g is None for g in flat_grads):
        raise ValueError("every gradient is None: the loss does not depend on the parameters")
    for other in (*slots, params):
        if other is not None:
            check_same_structure("state and params", other, "grads", grads)
    flat_params = flat_grads if params is None else tf.nest.flatten(params)
    flat_slots = [tf.nest.flatten(slot) for slot in slots]

    results = []
    for g, w, *old in zip(flat_grads, flat_params, *flat_slots, strict=True):
        if g is None:
            results.append((None, *old))
            continue
        g = widen(g)
        keywords = {name: _for_dtype(x, g.dtype) for name, x in scalars.items()}
        if params is not None:
            keywords["w"] = widen(w)
        results.append(rule(g, *old, **keywords))
    columns = zip(*results, strict=True) if results else [()] * (1 + len(slots))
    return tuple(tf.nest.pack_sequence_as(grads, list(column)) for column in columns)


def _for_dtype(x: Any, dtype: Any) -> Any:
    """A scalar tensor cast; a number as a Python number, which TensorFlow rounds once."""
    if isinstance(x, bool) or not isinstance(x, numbers.Number):
        return tf.cast(x, dtype)
    return float(x)  # type: ignore[arg-type]


def _outline(structure: Any) -> str:
    """A structure on one line, its leaves as dtype and shape."""

    def leaf(x: Any) -> str:
        return f"{x.dtype.name}{list(x.shape)}" if hasattr(x, "shape") else repr(x)

    text = str(tf.nest.map_structure(leaf, structure))
    return text if len(text) <= 200 else text[:197] + "..."


def paths(tree: Any) -> Any:
    """The path of each leaf, in the structure of the tree: "encoder/dense/kernel", "layers/0".

    Keys of dicts, fields of NamedTuples and positions in lists, joined by "/".
    """
    names: list[str] = []
    _collect_paths(tree, (), names)
    return tf.nest.pack_sequence_as(tree, names)


def leaves_by_path(tree: Any) -> list[tuple[str, Any]]:
    """The path and the leaf of each leaf, in the order of `tf.nest.flatten`."""
    return list(zip(tf.nest.flatten(paths(tree)), tf.nest.flatten(tree), strict=True))


def _collect_paths(tree: Any, prefix: tuple[str, ...], names: list[str]) -> None:
    if not tf.nest.is_nested(tree):
        names.append("/".join(prefix))
        return
    if isinstance(tree, Mapping):
        children = [(str(key), tree[key]) for key in sorted(tree)]
    elif hasattr(tree, "_fields"):
        children = [(name, getattr(tree, name)) for name in tree._fields]
    else:
        children = [(str(i), child) for i, child in enumerate(tree)]
    for name, child in children:
        _collect_paths(child, (*prefix, name), names)


def kernels(params: Any) -> Any:
    """The mask of the parameters of two or more axes: not biases, not scales.

    A structure of bools like the parameters. The function itself is also taken where a mask is.
    """
    return tf.nest.map_structure(lambda w: len(w.shape) > 1, params)


def resolve_mask(mask: Any, params: Any) -> Any:
    """A mask as a structure of bools like the parameters.

    Args:
        mask: such a structure, a function of a parameter's path, a regular expression that
            matches the whole of the paths, `kernels`, or None, which takes all.

    Raises:
        ValueError, TypeError: a mask of another structure, of something else than bools, or an
            expression that cannot be read or matches no path.
    """
    if mask is None:
        return tf.nest.map_structure(lambda _: True, params)
    if mask is kernels:
        return kernels(params)
    if isinstance(mask, str):
        found = matching_paths(mask, tf.nest.flatten(paths(params)))
        return tf.nest.map_structure(lambda path: path in found, paths(params))
    if callable(mask):
        return tf.nest.map_structure(lambda path: bool(mask(path)), paths(params))
    check_same_structure("params", params, "mask", mask)
    for taken in tf.nest.flatten(mask):
        if not isinstance(taken, bool):
            raise TypeError(f"a mask must hold bools, got {taken!r}")
    return mask


def matching_paths(pattern: str, names: Sequence[str]) -> set[str]:
    """The paths of which a regular expression matches the whole; at least one.

    Raises:
        ValueError: an expression that cannot be read, or that matches none of the paths.
    """
    try:
        found = {path for path in names if re.fullmatch(pattern, path)}
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    if not found:
        some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise ValueError(
            f"no parameter has a path of which {pattern!r} matches the whole; there are {some}"
        )
    return found


def prune(tree: Any, mask: Any) -> Any:
    """The tree with None for the leaves where the mask, a structure of bools, is False."""
    return tf.nest.map_structure(lambda x, taken: x if taken else None, tree, mask)


def overlay(first: Any, *others: Any) -> Any:
    """One structure of several: at each leaf the first that is not None."""
    return tf.nest.map_structure(
        lambda *leaves: next((x for x in leaves if x is not None), None), first, *others
    )


def is_empty(tree: Any) -> bool:
    """Whether a structure has no leaf but None."""
    return all(x is None for x in tf.nest.flatten(tree))


def is_zero(x: Any) -> bool:
    """Whether a hyperparameter is the number 0; a tensor's value is not known, so it is not."""
    return isinstance(x, numbers.Real) and float(x) == 0.0

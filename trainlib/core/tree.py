"""Operations on structures of tensors: dtypes, mapping over leaves, paths and masks.

A structure is anything that `tf.nest` flattens; a leaf may be None. Norms are in `norms`.
"""

from __future__ import annotations

import numbers
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from trainlib.core.checks import first_of


def compute_dtype(dtype: Any) -> Any:
    """Return the dtype in which updates are computed for tensors of a dtype: float32 or float64.

    Raises:
        TypeError: the dtype is not a floating one.
    """
    dtype = tf.as_dtype(dtype)
    if not dtype.is_floating:
        raise TypeError(f"expected floating tensors, got one of dtype {dtype.name}")
    return tf.float64 if dtype == tf.float64 else tf.float32


def widen(x: Any) -> Any:
    """Cast a tensor to its compute dtype; `tf.IndexedSlices` become a dense tensor."""
    x = tf.convert_to_tensor(x)
    return tf.cast(x, compute_dtype(x.dtype))


def as_floating(x: Any, dtype: Any) -> Any:
    """Return a tensor, cast to a dtype if it holds integers or bools."""
    x = tf.convert_to_tensor(x)
    return x if x.dtype.is_floating else tf.cast(x, dtype)


def map_values(function: Callable[[Any], Any], x: Any) -> Any:
    """Return a function of each element of a gradient; `tf.IndexedSlices` stay as such."""
    if not isinstance(x, tf.IndexedSlices):
        return function(x)
    return tf.IndexedSlices(function(x.values), x.indices, x.dense_shape)


def dense(x: Any) -> Any:
    """Return a gradient as a tensor, also `tf.IndexedSlices`; None stays None."""
    return None if x is None else tf.convert_to_tensor(x)


def zeros_like(params: Any) -> Any:
    """Return zeros in the parameters' shapes and compute dtypes; None stays None."""
    return full_like(params, 0.0)


def full_like(params: Any, value: float) -> Any:
    """Return a constant in the parameters' shapes and compute dtypes; None stays None."""

    def full(w: Any) -> Any:
        return None if w is None else tf.fill(tf.shape(w), scalar(value, widen(w)))

    return tf.nest.map_structure(full, params)


def scalar(x: Any, like: Any) -> Any:
    """Return a number or scalar tensor in the dtype of the tensor `like`.

    A Python number is rounded once: `tf.cast(0.999, tf.float64)` would round it to float32 first.
    """
    return tf.cast(x, like.dtype) if tf.is_tensor(x) else tf.constant(x, like.dtype)


def float64(x: Any) -> Any:
    """Return a number or a scalar tensor in float64."""
    return tf.cast(x, tf.float64) if tf.is_tensor(x) else tf.constant(x, tf.float64)


def with_rank(x: Any, rank: int) -> Any:
    """Return a tensor with axes of length 1 added at its end, up to a number of axes."""
    for _ in range(rank - x.shape.rank):
        x = x[..., tf.newaxis]
    return x


def total(scalars: list[Any]) -> Any:
    """Return the sum of scalar tensors in the widest of their dtypes; a float32 0 for none."""
    if not scalars:
        return tf.constant(0.0)
    wide = max((x.dtype for x in scalars), key=lambda dtype: dtype.size)
    return tf.add_n([tf.cast(x, wide) for x in scalars])


def check_same_structure(name: str, expected: Any, other_name: str, other: Any) -> None:
    """Raise `ValueError` if two structures differ; a list and a tuple count as the same."""
    try:
        tf.nest.assert_same_structure(_as_lists(expected), _as_lists(other))
    except (TypeError, ValueError):
        raise ValueError(
            f"{other_name} must have the structure of {name}: got {_outline(other)}, "
            f"expected {_outline(expected)}"
        ) from None


def _as_lists(structure: Any) -> Any:
    """Return a structure with its sequences as lists and its mappings as dicts."""
    if isinstance(structure, Mapping):
        return {key: _as_lists(x) for key, x in structure.items()}
    if isinstance(structure, (list, tuple)):
        return [_as_lists(x) for x in structure]
    return structure


def leafwise(
    function: Callable[..., tuple[Any, ...]],
    grads: Any,
    *slots: Any,
    params: Any = None,
    **scalars: Any,
) -> tuple[Any, ...]:
    """Map a function of one tensor over structures.

    Calls `function(g, *slots, **scalars)` for each leaf, which returns `(u, *new_slots)`. Where the
    gradient is None the function is not called: the update is None and the slots do not change.

    Args:
        function: a function of one gradient and of the slots of one parameter.
        grads: the gradients. The function gets them in their compute dtype.
        slots: structures like the gradients, such as moments.
        params: the parameters, which the function then gets as the keyword `w`, in their compute
            dtype. Default: None, the function gets no `w`.
        scalars: scalar tensors, which are cast to the gradient's compute dtype, and Python
            numbers, which stay numbers, so that TensorFlow rounds each of them once.

    Returns:
        A tuple of structures: the updates, and each of the slots.

    Raises:
        ValueError: every gradient is None, or the structures differ.

    Example:
        >>> from trainlib.core.tree import leafwise
        >>> def momentum(g, v, *, rate):
        ...     v = 0.5 * v + g
        ...     return -rate * v, v
        >>> updates, v = leafwise(momentum, {"w": tf.constant(2.0)}, {"w": 4.0}, rate=0.25)
        >>> float(updates["w"]), float(v["w"])
        (-1.0, 4.0)
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
        results.append(function(g, *old, **keywords))
    columns = zip(*results, strict=True) if results else [()] * (1 + len(slots))
    return tuple(tf.nest.pack_sequence_as(grads, list(column)) for column in columns)


def _for_dtype(x: Any, dtype: Any) -> Any:
    """Return a scalar tensor cast to a dtype, or a number as a float."""
    if isinstance(x, bool) or not isinstance(x, numbers.Number):
        return tf.cast(x, dtype)
    return float(x)  # type: ignore[arg-type]


def _outline(structure: Any) -> str:
    """Return a description of a structure, its leaves as dtype and shape, on one line."""

    def leaf(x: Any) -> str:
        return f"{x.dtype.name}{list(x.shape)}" if hasattr(x, "shape") else repr(x)

    text = str(tf.nest.map_structure(leaf, structure))
    return text if len(text) <= 200 else text[:197] + "..."


def paths(tree: Any) -> Any:
    """Return the path of each leaf, in the structure of the tree.

    A path joins the keys of dicts, fields of NamedTuples and positions in lists by "/".

    Example:
        >>> from trainlib.core.tree import paths
        >>> paths({"encoder": {"kernel": tf.ones([2, 2])}, "layers": [tf.ones([2])]})
        {'encoder': {'kernel': 'encoder/kernel'}, 'layers': ['layers/0']}
    """
    names: list[str] = []
    _collect_paths(tree, (), names)
    return tf.nest.pack_sequence_as(tree, names)


def leaves_by_path(tree: Any) -> list[tuple[str, Any]]:
    """Return pairs of a path and its leaf, in the order of `tf.nest.flatten`."""
    return list(zip(tf.nest.flatten(paths(tree)), tf.nest.flatten(tree), strict=True))


def _collect_paths(tree: Any, prefix: tuple[str, ...], names: list[str]) -> None:
    """Append the paths of a tree's leaves to `names`."""
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


class Part(dict[str, Any]):
    """A part of the parameters, or of a structure like them, by the paths in the complete one.

    Args:
        leaves: the leaves of the part, by path.
        complete: the paths of the complete structure. Default: None, not known: `tf.nest`, which
            gives the leaves only, does not keep them in the structures that it makes.
    """

    def __init__(self, leaves: Iterable[Any] = (), complete: Sequence[str] | None = None) -> None:
        super().__init__(leaves)
        self._complete = complete

    @property
    def complete(self) -> Sequence[str] | None:
        """The paths of the complete structure, or None."""
        return self._complete


def complete_paths(params: Any) -> Sequence[str] | None:
    """Return the paths of the complete parameters; `params` may be a `Part` of them."""
    return params.complete if isinstance(params, Part) else tf.nest.flatten(paths(params))


def kernels(params: Any) -> Any:
    """Return a mask of the parameters with two or more axes: no biases, no scales.

    The function itself can be given wherever a mask can: `tl.adamw(weight_decay=0.1,
    decay_mask=tl.kernels)`.

    Args:
        params: the parameters.

    Returns:
        A structure of bools like the parameters.

    Example:
        >>> tl.kernels({"bias": tf.zeros([2]), "kernel": tf.zeros([3, 2])})
        {'bias': False, 'kernel': True}
    """
    return tf.nest.map_structure(lambda w: len(w.shape) > 1, params)


def resolve_mask(mask: Any, params: Any) -> Any:
    """Return a mask as a structure of bools like the parameters.

    Args:
        mask: a structure of bools, a function `path -> bool`, a regular expression for whole paths,
            `kernels`, or None for all parameters.
        params: the parameters, or a `Part` of them.

    Raises:
        ValueError: the mask has another structure, or is a regular expression that is not valid or
            matches no path of the complete parameters. Those of a `Part` that `tf.nest` has made
            are not known, so that an expression may match none of them.
        TypeError: a leaf of the mask is not a bool.

    Example:
        >>> from trainlib.core.tree import resolve_mask
        >>> params = {"bias": tf.zeros([2]), "kernel": tf.zeros([3, 2])}
        >>> resolve_mask("b.*", params)
        {'bias': True, 'kernel': False}
    """
    if mask is None:
        return tf.nest.map_structure(lambda _: True, params)
    if mask is kernels:
        return kernels(params)
    if isinstance(mask, str):
        complete, expression = complete_paths(params), compiled(mask)
        if complete is not None:
            matching_paths(mask, complete)  # Raises if it matches nothing.
        return tf.nest.map_structure(lambda path: bool(expression.fullmatch(path)), paths(params))
    if callable(mask):
        return tf.nest.map_structure(lambda path: bool(mask(path)), paths(params))
    check_same_structure("params", params, "mask", mask)
    for taken in tf.nest.flatten(mask):
        if not isinstance(taken, bool):
            raise TypeError(f"a mask must hold bools, got {taken!r}")
    return mask


class PatternError(ValueError):
    """A regular expression for paths is not valid, or matches none of them.

    Args:
        message: one line.
        pattern: the expression.
    """

    def __init__(self, message: str, pattern: str) -> None:
        super().__init__(message)
        self.pattern = pattern


def compiled(pattern: str) -> re.Pattern[str]:
    """Return a regular expression, compiled.

    Raises:
        PatternError: it is not valid.
    """
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        message = f"{pattern!r} is not a valid regular expression: {error}"
        raise PatternError(message, pattern) from None


def matching_paths(pattern: str, names: Sequence[str]) -> set[str]:
    """Return the paths that a regular expression matches from beginning to end, at least one.

    Raises:
        PatternError: the expression is not valid, or matches none of the paths.
    """
    expression = compiled(pattern)
    found = {path for path in names if expression.fullmatch(path)}
    if not found:
        some = first_of(names, 5)
        message = f"no parameter path fully matches {pattern!r}; the paths are {some}"
        raise PatternError(message, pattern)
    return found


def prune(tree: Any, mask: Any) -> Any:
    """Return the tree with None for the leaves where the mask, a structure of bools, is False."""
    return tf.nest.map_structure(
        lambda x, taken: x if taken else None, tree, mask, check_types=False
    )


def overlay(first: Any, *others: Any) -> Any:
    """Return a structure with the first leaf that is not None of several structures."""
    return tf.nest.map_structure(
        lambda *leaves: next((x for x in leaves if x is not None), None),
        first,
        *others,
        check_types=False,
    )


def is_empty(tree: Any) -> bool:
    """Return whether all leaves of a structure are None."""
    return all(x is None for x in tf.nest.flatten(tree))


def is_zero(x: Any) -> bool:
    """Return whether a hyperparameter is the number 0; False for a tensor, whatever its value."""
    return isinstance(x, numbers.Real) and float(x) == 0.0

"""`lazy`: updates of the rows of an embedding that a batch reads, and of no others.

The gradient of a lookup is `tf.IndexedSlices`: an index and a gradient for each word of the batch.
The update of the whole embedding reads and writes all of its rows, and their slots; that of the
rows in the batch takes a time that does not grow with the vocabulary.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.tree import leaves_by_path, resolve_mask, widen, with_rank
from trainlib.core.types import (
    Optimizer,
    State,
    Tensor,
    Tree,
    check_optimizer,
    forwarded_args,
    update_with,
)
from trainlib.transforms.decay import Mask
from trainlib.transforms.states import no_change

EMBEDDINGS = "(.*/)?embeddings"
"""Pattern of the paths of the parameters of `keras.layers.Embedding`."""


class _Rows(NamedTuple):
    """The rows of a parameter that a sparse gradient names, sorted by index.

    Attributes:
        index: the index of each, int [k]; a word that occurs several times is there as often.
        grad: the sum of the gradients of a row where it occurs first, zeros elsewhere; [k, ...].
        first: the position at which the row of each occurs first, int32 [k].
        starts: whether a row occurs first there, bool [k].
        touched: whether the gradient of the row of each is not 0, bool [k].
    """

    index: Tensor
    grad: Tensor
    first: Tensor
    starts: Tensor
    touched: Tensor


def lazy(optimizer: Optimizer, mask: Mask = EMBEDDINGS) -> Optimizer:
    """Update only the rows of embeddings that have a gradient.

        w[i], s[i] = the optimizer's, from g[i], s[i], w[i]     where g[i] is not 0
        w[i], s[i] = w[i], s[i]                                 elsewhere

    for each row i of a parameter and each slot s of the optimizer. A row that a batch does not read
    is not moved by its momentum and its moments do not decay, nor do its weights; the number of
    updates, by which Adam corrects the bias of its means, counts all of them. That is another
    algorithm than the optimizer's own, often a better one for words that are rare.

    The steps of an embedding of many rows take a fraction of the time under XLA, where they change
    the rows in place. In a graph each step copies the parameter and its slots.

    Args:
        optimizer: `sgd`, `adagrad`, `rmsprop`, `adam`, `adamw`, `adamax` or `nadam` in any of their
            forms, a clipping by value or norm, or a `chain` of these. `inject_hyperparams` may be
            around them. Norms are those of all gradients.
        mask: the parameters that are updated by row, as for weight decay: a structure of bools, a
            function of the path, a regular expression for paths, or None for all. Default: those
            of `keras.layers.Embedding`.

    Returns:
        An `Optimizer` with the state of the given one. Its updates of such parameters are
        `tf.IndexedSlices` where the gradients are, which `apply_updates` adds to their rows.

    Raises:
        ValueError: an optimizer whose update of a row depends on other rows, such as `lamb` or
            `lookahead`; from `init` and `update`, a pattern that no parameter has.
        TypeError: the argument is no `Optimizer`.

    Example:
        >>> tx = tl.lazy(tl.sgd(0.5, momentum=0.5), mask=None)
        >>> w = tf.zeros([4, 1])
        >>> state = tx.init(w)
        >>> for i in (1, 2):
        ...     g = tf.IndexedSlices(tf.ones([1, 1]), tf.constant([i]), tf.constant([4, 1]))
        ...     updates, state = tx.update(g, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> w[:, 0].numpy().tolist()  # row 1 has no second step by its momentum
        [0.0, -0.5, -0.5, 0.0]

    Differences:
        PyTorch: `SparseAdam` updates a row of the batch whose gradient is exactly 0 too.
        Keras: has no lazy form; its optimizers update all rows.

    References:
        The TensorFlow Addons documentation of `LazyAdam`.
    """
    check_optimizer("the optimizer of lazy", optimizer)
    if not optimizer.by_row:
        raise ValueError(
            "lazy takes sgd, adagrad, rmsprop, adam, adamw, adamax, nadam, and chains of them with "
            "clipping: the updates of others depend on all rows of a parameter, or on earlier steps"
        )

    def init(params: Tree) -> State:
        resolve_mask(mask, params)
        return optimizer.init(params)

    def update(grads: Tree, state: State, params: Tree, **extra: Any) -> tuple[Tree, State]:
        chosen = dict(leaves_by_path(resolve_mask(mask, params)))
        named = dict(leaves_by_path(params))
        dense, sparse = {}, {}
        for path, g in zip(named, tf.nest.flatten(grads), strict=True):
            if g is None or not chosen[path]:
                continue
            if isinstance(g, tf.IndexedSlices):
                sparse[path] = _rows(g)
            else:
                dense[path] = _has_gradient(g)

        def rows_of(path: str | None, w: Tensor) -> Tensor:
            return tf.gather(w, sparse[path].index) if path in sparse else w

        inner_grads = [
            sparse[path].grad if path in sparse else g
            for path, g in zip(named, tf.nest.flatten(grads), strict=True)
        ]
        owners = [_owner(path, x, named) for path, x in leaves_by_path(state)]
        old = tf.nest.flatten(state)
        updates, new_state = update_with(
            optimizer,
            tf.nest.pack_sequence_as(grads, inner_grads),
            tf.nest.pack_sequence_as(
                state, [rows_of(owner, x) for owner, x in zip(owners, old, strict=True)]
            ),
            tf.nest.pack_sequence_as(params, [rows_of(path, w) for path, w in named.items()]),
            **extra,
        )
        kept = []
        for owner, x, new in zip(owners, old, tf.nest.flatten(new_state), strict=True):
            if owner in sparse:
                new = _scatter(x, sparse[owner], new)
            elif owner in dense:
                new = tf.where(with_rank(dense[owner], new.shape.rank), new, x)
            kept.append(new)
        found = []
        for (path, w), u in zip(named.items(), tf.nest.flatten(updates), strict=True):
            if path in sparse:
                u = _slices(sparse[path], u, tf.shape(w))
            elif path in dense:
                u = tf.where(with_rank(dense[path], u.shape.rank), u, no_change(u))
            found.append(u)
        return tf.nest.pack_sequence_as(params, found), tf.nest.pack_sequence_as(new_state, kept)

    return Optimizer(init, update, forwarded_args(optimizer))


def _rows(g: tf.IndexedSlices) -> _Rows:
    """Return the rows of a sparse gradient, each with the sum of its gradients."""
    order = tf.argsort(g.indices, stable=True)
    index, values = tf.gather(g.indices, order), tf.gather(widen(g.values), order)
    # By comparison with the one before, in a form that holds for no indices too.
    starts = index != tf.concat([index[:1] - 1, index[:-1]], 0)
    row, count = tf.cumsum(tf.cast(starts, tf.int32)) - 1, tf.shape(index)[0]
    total = tf.gather(tf.math.unsorted_segment_sum(values, row, count), row)
    first = tf.gather(tf.math.unsorted_segment_min(tf.range(count), row, count), row)
    grad = tf.where(with_rank(starts, total.shape.rank), total, tf.zeros_like(total))
    return _Rows(index, grad, first, starts, _has_gradient(total))


def _has_gradient(g: Tensor) -> Tensor:
    """Return whether each row of a gradient has an element that is not 0, bool [rows].

    NaN is not 0.
    """
    g = tf.convert_to_tensor(g)
    return tf.reduce_any(g != 0, axis=list(range(1, g.shape.rank)))


def _owner(path: str, x: Tensor, params: dict[str, Tensor]) -> str | None:
    """Return the path of the parameter that a leaf of the state belongs to; None for scalars."""
    owners = [p for p in params if p == "" or path == p or path.endswith(f"/{p}")]
    owner = max(owners, key=len, default=None)
    return owner if owner is not None and x.shape == params[owner].shape else None


def _scatter(old: Tensor, rows: _Rows, new: Tensor) -> Tensor:
    """Return a slot with new values in the rows that have a gradient.

    A row that occurs several times is written as often, with the same values.
    """
    values = tf.gather(new, rows.first)
    touched = with_rank(rows.touched, values.shape.rank)
    values = tf.where(touched, values, tf.gather(old, rows.index))
    return tf.tensor_scatter_nd_update(old, rows.index[:, tf.newaxis], values)


def _slices(rows: _Rows, u: Tensor, shape: Tensor) -> tf.IndexedSlices:
    """Return the update of the rows, which changes each of them once."""
    changes = with_rank(rows.starts & rows.touched, u.shape.rank)
    return tf.IndexedSlices(tf.where(changes, u, no_change(u)), rows.index, shape)

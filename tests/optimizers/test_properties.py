"""Properties that every optimizer of the registry has, on random trees, gradients and options."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from helpers.examples import examples
from hypothesis import assume, given
from hypothesis import strategies as st

import trainlib as tl
from trainlib.core.tree import paths
from trainlib.registry import OPTIMIZERS, hyperparameters

EVERY = pytest.mark.parametrize("name", OPTIMIZERS)
ROWS = "rows"
"""The kind of a gradient that is `tf.IndexedSlices`, with a row that occurs twice."""


class Pair(NamedTuple):
    left: object
    right: object


@dataclass(frozen=True)
class Leaf:
    """A parameter to make; kind: the size of its gradients, `ROWS`, or None for no gradient."""

    shape: tuple[int, ...]
    dtype: str
    kind: object


SHAPES = [(3,), (), (2, 3), (3, 2), (0,), (2, 0), (0, 2), (2, 1, 2)]
DTYPES = ["float32", "bfloat16", "float64", "float16"]
KINDS = [1.0, ROWS, 0.0, None, 1e-12, 1e4]
LEAVES = st.builds(
    Leaf, st.sampled_from(SHAPES), st.sampled_from(DTYPES), st.sampled_from(KINDS)
).filter(lambda leaf: leaf.kind != ROWS or (leaf.shape and leaf.shape[0] > 0))
SUBTREES = st.recursive(
    LEAVES,
    lambda child: (
        st.lists(child, min_size=1, max_size=2)
        | st.tuples(child, child)
        | st.builds(Pair, child, child)
        | st.dictionaries(st.sampled_from("xy"), child, min_size=1)
    ),
    max_leaves=4,
)


def has_gradient(tree):
    return any(leaf.kind is not None for leaf in tf.nest.flatten(tree))


TREES = SUBTREES.filter(has_gradient)
DICTS = st.dictionaries(
    st.sampled_from(["w1", "w2", "w3"]), SUBTREES, min_size=2, max_size=3
).filter(has_gradient)


def options(name):
    """Valid options of an optimizer."""
    drawn = {
        "convention": st.sampled_from(list(OPTIMIZERS[name].conventions)),
        "learning_rate": st.floats(1e-4, 0.5),
        "weight_decay": st.sampled_from([0.0, 0.01, 0.5]),
        "momentum": st.sampled_from([0.5, 0.9]),
    }
    known = hyperparameters(OPTIMIZERS[name])
    flags = {key: st.booleans() for key, x in known.items() if x.type == "bool"}
    return st.fixed_dictionaries({key: x for key, x in drawn.items() if key in known} | flags)


def make_params(tree):
    rng = np.random.default_rng(0)
    return tf.nest.map_structure(
        lambda leaf: tf.cast(tf.constant(rng.normal(size=leaf.shape)), leaf.dtype), tree
    )


def make_grads(tree, step):
    rng = np.random.default_rng(step + 1)

    def gradient(leaf):
        if leaf.kind is None:
            return None
        size = 1.0 if leaf.kind == ROWS else leaf.kind
        g = tf.cast(tf.constant(size * rng.normal(size=leaf.shape)), leaf.dtype)
        if leaf.kind != ROWS:
            return g
        rows = [leaf.shape[0] - 1, 0, leaf.shape[0] - 1]
        return tf.IndexedSlices(tf.gather(g, rows), tf.constant(rows), tf.constant(leaf.shape))

    return tf.nest.map_structure(gradient, tree)


def step_with(tx, grads, state, params):
    updates, state = tx.update(grads, state, params)
    return tl.apply_updates(params, updates), state


def run(tx, tree, count=2):
    """The parameters and the state after some steps."""
    params = make_params(tree)
    state = tx.init(params)
    for step in range(count):
        params, state = step_with(tx, make_grads(tree, step), state, params)
    return params, state


def bits(x):
    """What two tensors that are the same have in common."""
    return x.dtype, tuple(x.shape), x.numpy().tobytes()


def by_path(tree, value=bits):
    return dict(zip(tf.nest.flatten(paths(tree)), map(value, tf.nest.flatten(tree)), strict=True))


def assert_same_kind(old, new):
    tf.nest.assert_same_structure(old, new)
    for x, y in zip(tf.nest.flatten(old), tf.nest.flatten(new), strict=True):
        assert (x is None) == (y is None)
        assert x is None or (x.dtype, x.shape) == (y.dtype, y.shape)


def largest(tree):
    """The largest magnitude in a tree."""
    leaves = [tf.cast(x, tf.float64) for x in tf.nest.flatten(tree) if x is not None]
    return np.max([np.max(np.abs(x), initial=0.0) for x in leaves])


def assert_near(expected, result, tolerance=1e-5, least=0.0):
    """Assert that leaves differ by at most tolerance times their largest element, plus least."""
    assert_same_kind(expected, result)
    for x, y in zip(tf.nest.flatten(expected), tf.nest.flatten(result), strict=True):
        if x is not None:
            np.testing.assert_allclose(y, x, rtol=0, atol=tolerance * largest(x) + least)


@EVERY
@examples(2, 12)
@given(data=st.data())
def test_structure_shapes_and_dtypes_are_kept_and_inputs_unchanged(name, data):
    given_options, tree = data.draw(options(name)), data.draw(TREES)
    tx = OPTIMIZERS[name](**given_options)
    params = make_params(tree)
    state = tx.init(params)
    for step in range(2):
        inputs = (make_grads(tree, step), state, params)
        leaves = tf.nest.flatten(inputs, expand_composites=True)
        before = [x if x is None else bits(x) for x in leaves]
        updates, state = tx.update(*inputs)
        after = tf.nest.flatten(inputs, expand_composites=True)
        assert all(x is y for x, y in zip(leaves, after, strict=True))
        assert before == [x if x is None else bits(x) for x in after]
        tf.nest.assert_same_structure(inputs[0], updates)
        assert_same_kind(inputs[1], state)
        if np.isfinite(largest(params)):  # float16 may overflow.
            assert np.isfinite(largest((updates, state)))
        params = tl.apply_updates(params, updates)
        assert_same_kind(inputs[2], params)
    for leaf, w in zip(tf.nest.flatten(tree), tf.nest.flatten(params), strict=True):
        assert (w.dtype.name, tuple(w.shape)) == (leaf.dtype, leaf.shape)


BY_XLA = ("adam", "adafactor", "prodigy")
"""Optimizers compiled by XLA in every run; XLA compiles slowly, so `make soak` does the others."""


def compilations():
    """Each optimizer as a graph and compiled by XLA."""
    for name in OPTIMIZERS:
        yield name, False
        yield pytest.param(name, True, marks=[] if name in BY_XLA else [pytest.mark.soak])


@pytest.mark.parametrize(("name", "jit"), compilations())
@examples(1, 3)
@given(data=st.data())
def test_compiled_steps_are_the_eager_ones(name, jit, data):
    given_options, tree = data.draw(options(name)), data.draw(TREES)
    tx = OPTIMIZERS[name](**given_options)
    params, state = run(tx, tree, 1)
    assume(np.isfinite(largest(params)))  # float16 may overflow.

    def step(grads, state, params):
        updates, state = tx.update(grads, state, params)
        return updates, state, tl.apply_updates(params, updates)

    inputs = make_grads(tree, 1), state, params
    updates, state, params = step(*inputs)
    compiled = tf.function(step, jit_compile=jit, autograph=False)(*inputs)
    tolerance = 0.02 if name == "muon" else 1e-5  # Muon's products may be in bfloat16.
    assert_near(updates, compiled[0], tolerance, 2**-22 * largest(params))
    assert_near(state, compiled[1], tolerance)
    assert_same_kind(params, compiled[2])


@EVERY
@examples(1, 3)
@given(data=st.data())
def test_changed_hyperparameters_are_followed_without_a_new_trace(name, data):
    given_options, tree = data.draw(options(name)), data.draw(TREES)
    tx = tl.inject_hyperparams(OPTIMIZERS[name])(**given_options)
    (params, state), grads = run(tx, tree, 1), make_grads(tree, 1)
    assume(np.isfinite(largest(params)))  # float16 may overflow.
    compiled = tf.function(lambda state: tx.update(grads, state, params), autograph=False)
    for value in (0.25, 0.0625):
        new = {key: value for key in state.hyperparams if key != "momentum"}
        state = tl.set_hyperparams(state, **new)
        plain = OPTIMIZERS[name](**(given_options | new))
        expected = plain.update(grads, state.inner, params)
        updates, state = compiled(state)
        assert_near(expected, (updates, state.inner), least=2**-22 * largest(params))
    assert compiled.experimental_get_tracing_count() == 1


@EVERY
@examples(1, 10)
@given(data=st.data())
def test_permuted_leaves_have_permuted_results(name, data):
    given_options, tree = data.draw(options(name)), data.draw(DICTS)
    tx = OPTIMIZERS[name](**given_options)
    new_names = dict(zip(sorted(tree), data.draw(st.permutations(sorted(tree))), strict=True))

    def renamed(path):
        return "/".join(new_names.get(part, part) for part in path.split("/"))

    params, state = run(tx, tree)
    order = {new_names[key]: key for key in tree}
    new_params = {key: make_params(tree)[old] for key, old in order.items()}
    new_state = tx.init(new_params)
    for step in range(2):
        grads = {key: make_grads(tree, step)[old] for key, old in order.items()}
        new_params, new_state = step_with(tx, grads, new_state, new_params)
    for old, new in ((params, new_params), (state, new_state)):
        assert {renamed(path): x for path, x in by_path(old).items()} == by_path(new)


@EVERY
@examples(1, 10)
@given(data=st.data())
def test_a_restored_state_continues_with_the_same_bits(name, data):
    given_options, tree = data.draw(options(name)), data.draw(TREES)
    params, state = run(OPTIMIZERS[name](**given_options), tree)

    def restored(x):
        array = x.numpy()
        return tf.constant(np.ndarray(array.shape, array.dtype, array.tobytes()))

    tx = OPTIMIZERS[name](**given_options)
    template = tx.init(make_params(tree))
    leaves = [restored(x) for x in tf.nest.flatten(state)]
    copy = tf.nest.pack_sequence_as(template, leaves)
    grads = make_grads(tree, 2)
    expected = step_with(tx, grads, state, params)
    result = step_with(tx, grads, copy, tf.nest.map_structure(restored, params))
    assert by_path(result) == by_path(expected)


@EVERY
@examples(1, 10)
@given(data=st.data())
def test_a_gradient_of_none_leaves_parameter_and_state_unchanged(name, data):
    given_options = data.draw(options(name))
    tree = data.draw(DICTS) | {"ungraded": replace(data.draw(LEAVES), kind=None)}
    tx = OPTIMIZERS[name](**given_options)
    first = make_params(tree)
    params, state = run(tx, tree)
    before = by_path(first), by_path(tx.init(first))
    after = by_path(params), by_path(state)
    for path, leaf in by_path(tree, lambda leaf: leaf).items():
        if leaf.kind is None:
            for old, new in zip(before, after, strict=True):
                own = [key for key in old if f"/{key}".endswith(f"/{path}")]
                assert own or name == "sign_sgd"
                assert all(new[key] == old[key] for key in own)


@EVERY
def test_gradients_that_are_all_none_are_refused(name):
    params = {"a": tf.ones([2]), "b": (tf.ones([2, 2]), tf.ones([]))}
    tx = OPTIMIZERS[name]()
    none = {"a": None, "b": (None, None)}
    with pytest.raises(ValueError, match="every gradient is None"):
        tx.update(none, tx.init(params), params)

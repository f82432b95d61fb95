"""Structures: functions are mapped over leaves of any shape, dtype and sparsity."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS, WITHOUT_XLA

import trainlib as tl
from trainlib.core import tree
from trainlib.core.norms import global_norm

STEPS = 40
# Hyperparameters that are float32 numbers, to which Keras rounds its own.
EXACT = {"beta_1": 0.875, "beta_2": 1 - 2**-10, "epsilon": 2**-23}


def double(g, **scalars):
    return (2 * g,)


def follow(tx, params, grads_of, execution, steps=STEPS):
    """Return the parameters after each step of an optimizer, and its last state."""

    def step(params, state, k):
        updates, state = tx.update(grads_of(params, k), state, params)
        return tl.apply_updates(params, updates), state

    step = EXECUTIONS[execution](step)
    state, path = tx.init(params), []
    for k in range(steps):
        params, state = step(params, state, tf.constant(k))
        path.append(params)
    return path, state


def assert_equal(a, b):
    """Assert that two structures are equal, leaf by leaf."""
    tf.nest.assert_same_structure(a, b)
    for x, y in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
        np.testing.assert_array_equal(x, y)


class Pair(NamedTuple):
    left: object
    right: object


@pytest.mark.parametrize(
    "structure",
    [
        1.5,
        [],
        {},
        [1.5, 2.5],
        (1.5, [2.5, {"a": 3.5}]),
        {"b": Pair(1.5, (2.5,)), "a": [3.5, {}, ()]},
    ],
)
def test_updates_have_the_structure_of_the_gradients(structure):
    grads = tf.nest.map_structure(tf.constant, structure)
    (updates,) = tree.leafwise(double, grads)
    tf.nest.assert_same_structure(updates, grads)
    assert_equal(updates, tf.nest.map_structure(lambda g: 2 * g, grads))


def test_a_function_gets_each_leaf_with_its_slots_and_its_parameter():
    def function(g, m, v, *, w, rate):
        return g + w, m + rate, v * rate

    grads, m, v, params = (
        {"a": tf.constant(i), "b": [tf.constant(10 * i)]} for i in (1.0, 2.0, 3.0, 4.0)
    )
    results = tree.leafwise(function, grads, m, v, params=params, rate=0.5)
    expected = [{"a": x, "b": [y]} for x, y in ((5, 50), (2.5, 20.5), (1.5, 15))]
    for result, row in zip(results, expected, strict=True):
        assert_equal(result, row)


def slots(state, name):
    """Return the slots of one parameter in a state."""
    return [slot[name].numpy() for slot in state if isinstance(slot, dict)]


@pytest.mark.parametrize("execution", WITHOUT_XLA)
@pytest.mark.parametrize(
    "tx",
    [tl.sgd(0.1), tl.sgd(0.1, momentum=0.5), tl.adam(0.1), tl.adamw(0.1, weight_decay=0.5)],
    ids=["sgd", "momentum", "adam", "adamw"],
)
def test_a_gradient_of_none_keeps_its_parameter_and_slots_and_moves_the_others(tx, execution):
    params = {"a": tf.constant([1.0, -2.0]), "b": tf.constant([3.0])}
    _, state = tx.update(params, tx.init(params), params)
    update = EXECUTIONS[execution](lambda grads: tx.update(grads, state, params))
    updates, new_state = update(params | {"b": None})
    assert updates["b"] is None
    assert_equal(tl.apply_updates(params, updates)["b"], params["b"])
    assert_equal(slots(new_state, "b"), slots(state, "b"))
    both, both_state = update(params)
    assert_equal(updates["a"], both["a"])
    assert_equal(slots(new_state, "a"), slots(both_state, "a"))
    for before, after in zip(slots(state, "b"), slots(both_state, "b"), strict=True):
        assert not np.array_equal(before, after)


@pytest.mark.parametrize("execution", WITHOUT_XLA)
@pytest.mark.parametrize("grads", [None, [None], {"a": None, "b": [None, (None,)]}])
def test_gradients_that_are_all_none_are_refused(grads, execution):
    params = tf.nest.map_structure(lambda _: tf.constant(1.0), grads)
    tx = tl.adam()
    for update in (tree.leafwise, lambda _, grads: tx.update(grads, tx.init(params), params)):
        with pytest.raises(ValueError, match="every gradient is None"):
            EXECUTIONS[execution](lambda update=update: update(double, grads))()


def embedding_problem():
    """Return a table, and for each step five of its rows, some repeated, with noise."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(6, 3))
    rows = rng.choice([0, 1, 2, 4], size=(STEPS, 5))
    return table, rows, rng.normal(size=(STEPS, 5, 3))


def rows_gradient(table, rows, noise):
    """Return a sparse gradient of the rows."""
    values = tf.gather(table, rows) / 2 + noise
    return tf.IndexedSlices(values, rows, tf.constant(table.shape.as_list()))


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize(
    ("name", "peer", "options"),
    [
        ("sgd", "SGD", {}),
        ("sgd", "SGD", {"momentum": 0.875, "nesterov": True}),
        ("adam", "Adam", EXACT),
    ],
)
def test_the_repeated_rows_of_a_sparse_gradient_are_summed(name, peer, options, execution):
    table, rows, noise = embedding_problem()
    theirs = keras_path(peer, **options)

    def grads_of(params, k):
        row, x = tf.gather(tf.constant(rows), k), tf.gather(tf.constant(noise), k)
        return {"table": rows_gradient(params["table"], row, x)}

    tx = getattr(tl, name)(2**-6, **options)
    path, _ = follow(tx, {"table": tf.constant(table)}, grads_of, execution)
    for i, (a, b) in enumerate(zip(path, theirs, strict=True), start=1):
        error = np.max(np.abs(a["table"] - b)) / np.max(np.abs(b))
        assert error <= 1e-12, f"diverged at step {i}: {error:.2e}"


@functools.cache
def keras_path(peer, **options):
    """Return the table after each step of an optimizer of Keras."""
    table, rows, noise = embedding_problem()
    variable = keras.Variable(table, dtype="float64")
    optimizer = getattr(keras.optimizers, peer)(2**-6, **options)
    theirs = []
    for row, x in zip(rows, noise, strict=True):
        grad = rows_gradient(variable.value, tf.constant(row), x)
        # Where a row is repeated, Keras's Adam adds up the squares of its gradients, not the square
        # of their sum. It is given the sum.
        optimizer.apply([tf.convert_to_tensor(grad) if peer == "Adam" else grad], [variable])
        theirs.append(variable.numpy())
    return theirs


DTYPES = {"a": "float64", "b": "float32", "c": "bfloat16", "d": "float16"}


@pytest.mark.parametrize("execution", ["eager", "graph"])
@pytest.mark.parametrize("tx", [tl.sgd(0.1, momentum=0.5), tl.adam(0.1)], ids=["momentum", "adam"])
def test_leaves_of_several_dtypes_move_as_each_does_alone(tx, execution):
    params = {k: tf.cast([1.0, -3.0, 0.1], dtype) for k, dtype in DTYPES.items()}

    def grads_of(params, k):
        return {name: w / 2 for name, w in params.items()}

    path, state = follow(tx, params, grads_of, execution)
    assert {k: w.dtype.name for k, w in path[-1].items()} == DTYPES
    for k, dtype in DTYPES.items():
        expected = "float64" if dtype == "float64" else "float32"
        assert {slot.dtype.name for slot in slots(state, k)} == {expected}
        alone, _ = follow(tx, {k: params[k]}, grads_of, execution)
        assert_equal([row[k] for row in path], [row[k] for row in alone])


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_parameters_are_rounded_once_a_step_and_the_rest_is_float32(dtype, execution):
    # In bfloat16 Adam's beta_2 of 0.999 is 1: Keras, which computes in the parameter's dtype, makes
    # steps of size 0.
    tx, start = tl.adam(2**-4), tf.constant([1.0, -3.0, 0.1], dtype)
    path, _ = follow(tx, start, lambda w, k: w / 2, execution)
    w, state = start, tx.init(tf.cast(start, tf.float32))
    for ours in path:
        wide = tf.cast(w, tf.float32)
        updates, state = tx.update(tf.cast(w / 2, tf.float32), state, wide)
        w = tf.cast(wide + updates, dtype)
        assert_equal(ours, w)
    for before, after in zip([start, *path], path[:10], strict=False):
        assert np.all(before.numpy() != after.numpy())


def test_functions_compute_in_float32_or_wider():
    for dtype, expected in {
        "float64": "float64",
        "float32": "float32",
        "bfloat16": "float32",
        "float16": "float32",
    }.items():
        (update,) = tree.leafwise(double, tf.constant(1.5, dtype))
        assert (update.dtype, float(update)) == (expected, 3)
        for full, value in ((tree.zeros_like, 0), (lambda w: tree.full_like(w, 0.1), 0.1)):
            slot = full(tf.Variable([1, 2], dtype=dtype))
            assert slot.dtype == expected
            np.testing.assert_array_equal(slot, np.full(2, value, expected))


@pytest.mark.parametrize("x", [tf.constant(1), tf.constant(1j), tf.constant(True)])
def test_leaves_that_are_not_floating_are_refused(x):
    for function in (tree.widen, tree.zeros_like, global_norm):
        with pytest.raises(TypeError, match=f"expected floating tensors, .* {x.dtype.name}$"):
            function(x)
    with pytest.raises(TypeError, match="expected floating tensors"):
        tree.leafwise(double, [x])


@pytest.mark.parametrize("execution", WITHOUT_XLA)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("number", [0.999, np.float64(0.999), 3, np.int64(3), np.float32(0.75)])
def test_numbers_are_rounded_once_to_the_dtype_of_the_leaf(number, dtype, execution):
    # tf.cast(0.999, tf.float64) is 0.999 rounded to float32.
    def function(g, slot, *, x):
        assert isinstance(x, float)
        return x * g, tree.scalar(number, g)

    g, exact = tf.constant([1.0, 3.0], dtype), np.array(float(number), dtype)
    product, scalar = EXECUTIONS[execution](lambda: tree.leafwise(function, g, g, x=number))()
    assert (product.dtype, scalar.dtype) == (dtype, dtype)
    np.testing.assert_array_equal(product, exact * g.numpy())
    np.testing.assert_array_equal(scalar, exact)


@pytest.mark.parametrize("execution", WITHOUT_XLA)
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_scalar_tensors_are_cast_to_the_dtype_of_the_leaf(dtype, execution):
    t, rate = tf.constant(3, tf.int64), tf.Variable(0.5)

    def function(g, *, t, rate):
        assert t.dtype == rate.dtype == g.dtype
        assert tree.scalar(t, g).dtype == g.dtype
        return (g * t + rate,)

    update = EXECUTIONS[execution](lambda g: tree.leafwise(function, g, t=t, rate=rate)[0])(
        tf.ones([], dtype)
    )
    assert update == 3.5


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_empty_tensors_stay_empty(execution):
    tx = tl.adam(0.1)
    params = {"a": tf.zeros([0, 3]), "b": tf.ones([1])}
    path, state = follow(tx, params, lambda params, k: params, execution, steps=2)
    assert path[-1]["a"].shape == (0, 3)
    assert path[-1]["b"].numpy() < 1
    assert [slot.shape for slot in slots(state, "a")] == [(0, 3)] * 2


@pytest.mark.parametrize(
    "other",
    [
        {"a": 1.0},
        {"a": 1.0, "c": 1.0},
        {"a": 1.0, "b": 1.0, "c": 1.0},
        {"a": 1.0, "b": [1.0]},
        [1.0, 1.0],
        1.0,
    ],
)
def test_structures_that_differ_are_refused_with_the_expected_one(other):
    grads = {"a": tf.ones([2, 3]), "b": None}
    got = re.escape("got {'a': 'float32[2, 3]', 'b': 'None'}, expected ")
    expected = re.escape(str(tf.nest.map_structure(str, other)))
    for call, names in {
        lambda: tree.leafwise(double, grads, other): "grads .* state and params",
        lambda: tree.leafwise(double, grads, params=other): "grads .* state and params",
        lambda: tl.apply_updates(other, grads): "updates .* params",
    }.items():
        with pytest.raises(ValueError, match=f"^{names}: {got}{expected}$"):
            call()


@pytest.mark.parametrize("decay_form", ["pre", "add", "l2"])
def test_a_mask_may_be_a_tuple_for_a_list_of_parameters(decay_form):
    params, found = [tf.fill([2, 2], 2.0), tf.ones([2])], []
    for mask in ([True, False], (True, False)):
        options = {"weight_decay": 0.5, "decay_form": decay_form, "decay_mask": mask}
        for tx in (tl.adamw(0.5, **options), tl.muon(0.5, muon_mask=mask, **options)):
            found.append(tx.update(params, tx.init(params), params)[0])
    assert_equal(found[:2], found[2:])


def test_parameters_may_be_a_tuple_and_their_gradients_a_list():
    tx = tl.adamw(0.5, weight_decay=0.5)
    params = (tf.constant(1.0), tf.constant(2.0))
    expected, _ = tx.update(params, tx.init(params), params)
    updates, _ = tx.update(list(params), tx.init(params), params)
    assert_equal(tuple(updates), expected)


def test_lists_and_tuples_are_the_same_structure():
    grads = [tf.constant(1.0), (tf.constant(2.0),)]
    (updates,) = tree.leafwise(double, grads)
    assert_equal(tl.apply_updates((tf.constant(3.0), [tf.constant(4.0)]), updates), (5, [8]))

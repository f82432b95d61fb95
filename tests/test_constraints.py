"""Constraints agree with Keras at its epsilon, and are exact projections at epsilon 0."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.descents import descent
from helpers.executions import EXECUTIONS, WITHOUT_XLA, graph

import trainlib as tl
from trainlib.constraints import max_norm, min_max_norm, non_neg, unit_norm
from trainlib.core.tree import kernels

STEPS = 40
SHAPES = {"dense": (6, 5), "kernel": (2, 2, 3, 4), "bias": (5,)}
CASES = {
    "max_norm": (max_norm, "MaxNorm", {"max_value": 1.5}),
    "min_max_norm": (
        min_max_norm,
        "MinMaxNorm",
        {"min_value": 0.75, "max_value": 1.5, "rate": 0.25},
    ),
    "unit_norm": (unit_norm, "UnitNorm", {}),
    "non_neg": (non_neg, "NonNeg", {}),
}
BY_NORM = [max_norm(), min_max_norm(0.5), unit_norm()]


def keras_options(case, shape):
    """Return the options, with the axes of the weights of one unit."""
    options = CASES[case][2]
    axis = list(range(len(shape) - 1)) or 0
    return options if case == "non_neg" else options | {"axis": axis}


def problem(dtype):
    """Return initial parameters, and noise that drives weights across the bounds and back."""
    rng = np.random.default_rng(0)
    params = {k: rng.normal(size=s).astype(dtype) for k, s in SHAPES.items()}
    noise = [
        {k: (3 * rng.normal(size=s)).astype(dtype) for k, s in SHAPES.items()} for _ in range(STEPS)
    ]
    return params, noise


def grads_at(params, row):
    return {k: w / 4 + row[k] for k, w in params.items()}


@functools.cache
def keras_path(case, dtype):
    """Return the parameters after each step of Keras's SGD with the constraint."""
    params, noise = problem(dtype)
    variables = {k: keras.Variable(w, dtype=dtype) for k, w in params.items()}
    for k, v in variables.items():
        v.constraint = getattr(keras.constraints, CASES[case][1])(**keras_options(case, SHAPES[k]))
    optimizer = keras.optimizers.SGD(learning_rate=2**-4)
    optimizer.build(list(variables.values()))

    @graph
    def step(row):
        optimizer.apply(list(grads_at({k: v.value for k, v in variables.items()}, row).values()))

    path = []
    for row in noise:
        step({k: tf.constant(x) for k, x in row.items()})
        path.append({k: v.numpy() for k, v in variables.items()})
    return path


def our_path(case, dtype, execution):
    params, noise = problem(dtype)
    factory, _, options = CASES[case]
    units = {} if case == "non_neg" else {"axis": "units"}
    tx = tl.chain(tl.sgd(2**-4), tl.constrain(factory(**options, **units)))
    return descent(tx, params, noise, grads_at, execution)


@pytest.mark.parametrize(
    ("execution", "dtype", "tolerance"),
    [
        ("graph", "float64", 1e-12),
        pytest.param("eager", "float64", 1e-12, marks=pytest.mark.soak),
        pytest.param("xla", "float64", 1e-12, marks=pytest.mark.soak),
        pytest.param("graph", "float32", 16 * 2**-23, marks=pytest.mark.soak),
    ],
)
@pytest.mark.parametrize("case", CASES)
def test_a_constrained_descent_agrees_with_keras(case, execution, dtype, tolerance):
    theirs, our_steps = keras_path(case, dtype), our_path(case, dtype, execution)
    for k in SHAPES:
        ours = np.array([row[k] for row in our_steps])
        path = np.array([row[k] for row in theirs])
        error = np.max(np.abs(ours - path)) / np.max(np.abs(path))
        assert error <= tolerance, f"{k}: {error:.2e}"


@pytest.mark.parametrize("case", CASES)
def test_the_constraint_of_the_descent_is_active_in_some_steps(case):
    # Else the test above would compare plain descents.
    constraint = getattr(keras.constraints, CASES[case][1])(**keras_options(case, SHAPES["dense"]))
    params, noise = problem("float64")
    before = [params, *keras_path(case, "float64")[:-1]]
    moved = [
        w["dense"] - grads_at(w, row)["dense"] / 16 for w, row in zip(before, noise, strict=True)
    ]
    changed = [np.max(np.abs(constraint(w).numpy() - w)) > 1e-3 for w in moved]
    assert sum(changed) > STEPS / 4


def test_defaults_equal_those_of_keras():
    w = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32) * [0.1, 1, 3]
    for ours, theirs, _ in CASES.values():
        np.testing.assert_allclose(
            ours()(tf.constant(w)), getattr(keras.constraints, theirs)()(w), rtol=2**-22
        )


@pytest.mark.parametrize(
    ("axis", "axes"),
    [
        (0, 0),
        (-1, 3),
        ([0, 1, 2], (0, 1, 2)),
        ((0, -2), (0, 2)),
        ("0,1,2", (0, 1, 2)),
        ("-1", 3),
        ("units", (0, 1, 2)),
        ("all", (0, 1, 2, 3)),
        (None, (0, 1, 2, 3)),
    ],
)
def test_norms_are_over_the_axes(axis, axes):
    w = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    n = np.sqrt(np.sum(w**2, axes, keepdims=True))
    np.testing.assert_allclose(unit_norm(axis, 0.0)(tf.constant(w)), w / n, rtol=1e-14)


def test_units_are_the_columns_of_dense_kernels_and_a_vector_is_one():
    dense = tf.constant([[3.0, 0.0], [4.0, 2.0]])
    np.testing.assert_allclose(unit_norm("units")(dense), [[0.6, 0], [0.8, 1]], rtol=1e-6)
    np.testing.assert_allclose(unit_norm("units")(tf.constant([3.0, 4.0])), [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(unit_norm("units")(tf.constant(-5.0)), -1, rtol=1e-6)


@pytest.mark.parametrize("execution", WITHOUT_XLA)
def test_epsilon_0_keeps_the_bits_of_vectors_within_the_bound(execution):
    w = np.random.default_rng(0).normal(size=(50, 20)) * np.geomspace(1e-300, 0.1, 20)
    for constraint in (max_norm(2.0, epsilon=0.0), min_max_norm(0.0, 2.0, epsilon=0.0)):
        np.testing.assert_array_equal(EXECUTIONS[execution](constraint)(tf.constant(w)), w)
    at_the_bound = tf.constant([[3.0], [4.0]])
    np.testing.assert_array_equal(
        EXECUTIONS[execution](max_norm(5.0, epsilon=0.0))(at_the_bound), [[3], [4]]
    )


def test_epsilon_shrinks_vectors_within_the_bound():
    w = tf.constant([[0.3], [0.4]], tf.float64)
    np.testing.assert_allclose(max_norm()(w), w * (1 - 1e-7 / 0.5), rtol=1e-13)
    np.testing.assert_allclose(max_norm(0.25)(w), w * 0.25 / (0.5 + 1e-7), rtol=1e-15)


def test_exact_projections_have_the_target_norms():
    w = np.random.default_rng(0).normal(size=(30, 8)) * np.geomspace(0.01, 10, 8)
    n = np.linalg.norm(w, axis=0)
    for constraint, expected in {
        max_norm(2.0, epsilon=0.0): np.minimum(n, 2),
        min_max_norm(0.5, 2.0, epsilon=0.0): np.clip(n, 0.5, 2),
        min_max_norm(0.5, 2.0, rate=0.25, epsilon=0.0): 0.25 * np.clip(n, 0.5, 2) + 0.75 * n,
        unit_norm(epsilon=0.0): 1 + 0 * n,
    }.items():
        projected = constraint(tf.constant(w)).numpy()
        np.testing.assert_allclose(np.linalg.norm(projected, axis=0), expected, rtol=1e-14)
        np.testing.assert_allclose(np.sum(projected * w, 0), expected * n, rtol=1e-13)


@pytest.mark.parametrize("execution", WITHOUT_XLA)
@pytest.mark.parametrize("epsilon", [0.0, 1e-7])
def test_zero_vectors_stay_zero(epsilon, execution):
    w = tf.constant([[0.0, 3.0], [-0.0, 4.0]])
    for constraint in (max_norm, min_max_norm, unit_norm):
        lowest = {"min_value": 0.5} if constraint is min_max_norm else {}
        kept = EXECUTIONS[execution](constraint(**lowest, epsilon=epsilon))(w).numpy()
        assert kept[:, 0].tolist() == [0, 0]
        assert np.isfinite(kept).all() and kept[1, 1] > 0


@pytest.mark.parametrize("execution", WITHOUT_XLA)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_makes_its_unit_nan(bad, execution):
    w = tf.constant([[bad, 0.3], [1.0, 0.4]], tf.float64)
    for constraint in BY_NORM:
        kept = EXECUTIONS[execution](constraint)(w).numpy()
        assert np.isnan(kept[:, 0]).all()
        assert np.isfinite(kept[:, 1]).all()


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_non_neg_keeps_nan_and_infinity(execution):
    w = tf.constant([-1.0, 2.0, -np.inf, np.inf, np.nan, 0.0, -1e-30])
    np.testing.assert_array_equal(
        EXECUTIONS[execution](non_neg())(w), np.array([0, 2, 0, np.inf, np.nan, 0, 0], np.float32)
    )


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_vectors_whose_squares_overflow_are_projected(execution):
    large = {"float32": 1e30, "float64": 1e200, "bfloat16": 1e30, "float16": 6e4}
    rounding = {"float32": 1e-6, "float64": 1e-6, "bfloat16": 2.0**-7, "float16": 2e-3}
    constraint = max_norm(2.5, epsilon=0.0)

    @EXECUTIONS[execution]
    def project(every):
        return {dtype: constraint(w) for dtype, w in every.items()}

    given = {dtype: tf.constant([[3 * x / 4, 0.3], [x, 0.4]], dtype) for dtype, x in large.items()}
    for dtype, kept in project(given).items():
        expected = [[1.5, 0.3], [2.0, 0.4]]
        np.testing.assert_allclose(tf.cast(kept, tf.float64), expected, rtol=rounding[dtype])


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_vectors_whose_squares_underflow_have_a_direction(execution):
    w = tf.constant([[3e-30], [4e-30]])
    np.testing.assert_allclose(
        EXECUTIONS[execution](unit_norm(epsilon=0.0))(w), [[0.6], [0.8]], rtol=1e-6
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_constraints_keep_dtype_and_shape(dtype):
    for constraint in (*BY_NORM, non_neg()):
        for shape in ([3], [3, 2], [2, 2, 3, 4], [0, 3]):
            kept = constraint(tf.ones(shape, dtype))
            assert (kept.dtype.name, kept.shape.as_list()) == (dtype, shape)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: max_norm(-1), ValueError, "^max_value must be at least 0, got -1"),
        (lambda: max_norm("2"), TypeError, "^max_value must be a number"),
        (lambda: max_norm(epsilon=-1e-7), ValueError, "^epsilon must be at least 0, got -1e-07"),
        (lambda: unit_norm(epsilon=np.nan), ValueError, "^epsilon must be finite"),
        (lambda: min_max_norm(-1), ValueError, "^min_value must be at least 0"),
        (lambda: min_max_norm(2, 1), ValueError, "^max_value must be at least 2, got 1"),
        (lambda: min_max_norm(rate=1.5), ValueError, "^rate must be at least 0 and at most 1"),
        (lambda: unit_norm("unit"), ValueError, "^axis must be .* got \\['unit'\\]|got 'unit'"),
        (lambda: unit_norm("0,x"), ValueError, "^axis must be an integer"),
        (lambda: unit_norm([]), ValueError, "^axis must be an integer"),
        (lambda: unit_norm(0.5), ValueError, "^axis must be an integer"),
        (lambda: unit_norm([True]), ValueError, "^axis must be an integer"),
        (lambda: unit_norm(1)(tf.ones([2])), ValueError, r"axis 1 does not exist .* \(2,\)"),
        (lambda: unit_norm(-3)(tf.ones([2, 2])), ValueError, "axis -3 does not exist in a param"),
        (lambda: max_norm()(tf.constant([1])), TypeError, "expected floating tensors"),
        (lambda: non_neg()(tf.constant([1])), TypeError, "expected floating tensors"),
        (lambda: tl.constrain("max_norm"), TypeError, "^constraint must be a function such as"),
    ],
)
def test_invalid_arguments_are_rejected(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("mask", "held"),
    [
        (None, ["a/bias", "a/kernel", "b"]),
        (kernels, ["a/kernel", "b"]),
        ("a/.*", ["a/bias", "a/kernel"]),
        (lambda path: path == "b", ["b"]),
        ({"a": {"bias": True, "kernel": False}, "b": False}, ["a/bias"]),
    ],
)
def test_constrain_applies_to_the_parameters_of_its_mask(mask, held):
    params = {"a": {"bias": tf.ones([2]), "kernel": tf.ones([2, 2])}, "b": tf.ones([1, 1])}
    tx = tl.chain(tl.sgd(3.0), tl.constrain(non_neg(), mask))
    updates, _ = tx.update(params, tx.init(params), params)
    moved = tl.apply_updates(params, updates)
    at_zero = {"a/bias": moved["a"]["bias"], "a/kernel": moved["a"]["kernel"], "b": moved["b"]}
    assert [path for path, w in at_zero.items() if np.all(w == 0)] == held
    assert all(np.all(w == -2) for path, w in at_zero.items() if path not in held)


def test_constrain_rejects_a_pattern_that_matches_nothing():
    params = {"kernel": tf.ones([2, 2])}
    with pytest.raises(ValueError, match="'bias'; the paths are kernel"):
        tl.constrain(non_neg(), "bias").update(params, (), params)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_non_negative_weights_are_not_rounded_below_0(dtype):
    rng = np.random.default_rng(0)
    w = tf.constant(rng.normal(size=10_000) * np.exp(3 * rng.normal(size=10_000)), dtype)
    u = tf.constant(rng.normal(size=10_000) * np.exp(3 * rng.normal(size=10_000)))
    updates, _ = tl.constrain(non_neg()).update(u, (), w)
    moved = tl.apply_updates(w, updates)
    assert np.min(moved) == 0 and np.mean(moved > 0) > 0.3


def accumulated(tx, grads):
    w = tf.constant([0.3, 0.4], tf.float64)
    state, path = tx.init(w), []
    for g in grads:
        updates, state = tx.update(tf.constant(g, tf.float64), state, w)
        w = tl.apply_updates(w, updates)
        path.append(w.numpy())
    return path


def test_constrain_after_accumulate_acts_on_every_micro_batch_as_in_keras():
    grads = [[0.5, 0.0], [0.0, 0.25], [-4.0, -1.0], [1.0, 2.0]]
    v = keras.Variable(np.array([0.3, 0.4]), dtype="float64")
    v.constraint = keras.constraints.MaxNorm(1.0)
    optimizer = keras.optimizers.SGD(0.25, gradient_accumulation_steps=2)
    theirs = []
    for g in grads:
        optimizer.apply([tf.constant(g, tf.float64)], [v])
        theirs.append(v.numpy())
    constraint = tl.constrain(max_norm(1.0))
    outside = accumulated(tl.chain(tl.accumulate(tl.sgd(0.25), 2), constraint), grads)
    np.testing.assert_allclose(outside, theirs, rtol=1e-13)
    inside = accumulated(tl.accumulate(tl.chain(tl.sgd(0.25), constraint), 2), grads)
    assert inside[0].tolist() == [0.3, 0.4] and outside[0][0] < 0.3
    np.testing.assert_allclose(inside, theirs, rtol=1e-6)

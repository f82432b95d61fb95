"""Penalties, and descents with their gradients, agree with Keras."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS, WITHOUT_XLA, graph, soak_except

import trainlib as tl
from trainlib.core.tree import kernels
from trainlib.regularizers import orthogonal, restrict

STEPS = 40
SHAPES = {"a": (4, 3), "b": (3,), "c": ()}
CASES = {
    "l1": ("l1", "L1", {}),
    "l2": ("l2", "L2", {}),
    "l1_l2": ("l1_l2", "L1L2", {"l1": 0.1, "l2": 0.2}),
}


def problem(dtype):
    """Return initial parameters and noise for each step of w^2 / 4 + noise w + penalty."""
    rng = np.random.default_rng(0)
    params = {k: rng.normal(size=s).astype(dtype) for k, s in SHAPES.items()}
    noise = [{k: rng.normal(size=s).astype(dtype) for k, s in SHAPES.items()} for _ in range(STEPS)]
    return params, noise


def keras_regularizer(peer, options):
    """Return a Keras regularizer with exact factors; its constructor rounds them to float32."""
    penalty = getattr(keras.regularizers, peer)(**options)
    for name in ("l1", "l2"):
        if hasattr(penalty, name):
            default = 0.0 if peer == "L1L2" else 0.01
            setattr(penalty, name, np.float64(options.get(name, default)))
    return penalty


@functools.cache
def keras_path(case, dtype):
    """Return the penalty and the parameters after each step of Keras's SGD."""
    _, peer, options = CASES[case]
    params, noise = problem(dtype)
    variables = {k: keras.Variable(w, dtype=dtype) for k, w in params.items()}
    penalty = keras_regularizer(peer, options)
    optimizer = keras.optimizers.SGD(learning_rate=2**-4)
    optimizer.build(list(variables.values()))

    @graph
    def step(row):
        with tf.GradientTape() as tape:
            total = sum(penalty(v.value) for v in variables.values())
        gradients = tape.gradient(total, {k: v.value for k, v in variables.items()})
        grads = [v.value / 2 + row[k] + gradients[k] for k, v in variables.items()]
        optimizer.apply(grads)
        return total

    path = []
    for row in noise:
        total = step({k: tf.constant(x) for k, x in row.items()})
        path.append({k: v.numpy() for k, v in variables.items()} | {"penalty": total.numpy()})
    return path


def our_path(case, dtype, execution):
    name, _, options = CASES[case]
    params, noise = problem(dtype)
    penalty, tx = getattr(tl, name)(**options), tl.sgd(2**-4)

    def step(params, state, row):
        with tf.GradientTape() as tape:
            tape.watch(params)
            total = penalty(params)
        gradients = tape.gradient(total, params)
        grads = {k: w / 2 + row[k] + gradients[k] for k, w in params.items()}
        updates, state = tx.update(grads, state, params)
        return tl.apply_updates(params, updates), state, total

    step = EXECUTIONS[execution](step)
    params = {k: tf.constant(w) for k, w in params.items()}
    state, path = tx.init(params), []
    for row in noise:
        params, state, total = step(params, state, {k: tf.constant(x) for k, x in row.items()})
        path.append({k: w.numpy() for k, w in params.items()} | {"penalty": total.numpy()})
    return path


def assert_close(ours, theirs, tolerance):
    """Compare every step relative to the largest value of the path; a scalar may cross 0."""
    size = {k: max(np.max(np.abs(row[k])) for row in theirs) for k in theirs[0]}
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True), start=1):
        for k in b:
            error = np.max(np.abs(a[k] - b[k])) / size[k]
            assert error <= tolerance, f"diverged at step {i} in {k}: {error:.2e}"


@pytest.mark.parametrize("execution", WITHOUT_XLA)
@pytest.mark.parametrize("case", CASES)
def test_a_float64_descent_agrees_with_keras(case, execution):
    assert_close(our_path(case, "float64", execution), keras_path(case, "float64"), 1e-12)


@pytest.mark.parametrize("execution", soak_except("graph"))
@pytest.mark.parametrize("case", CASES)
def test_a_float32_descent_agrees_with_keras(case, execution):
    # Each step rounds the parameters once and contracts the errors of the steps before it.
    assert_close(our_path(case, "float32", execution), keras_path(case, "float32"), 8 * 2**-23)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_the_gradient_of_l1_is_0_at_0(execution):
    @EXECUTIONS[execution]
    def gradient(w):
        with tf.GradientTape() as tape:
            tape.watch(w)
            penalty = tl.l1(0.5)(w)
        return tape.gradient(penalty, w)

    assert gradient(tf.constant([0.0, -0.0, 2.0, -1e-30])).numpy().tolist() == [0, 0, 0.5, -0.5]


def test_l2_has_no_factor_one_half_and_a_structure_is_summed():
    params = {"a": [tf.constant([3.0, -4.0])], "b": (tf.Variable(2.0),)}
    assert tl.l1(0.5)(params) == 4.5
    assert tl.l2(0.5)(params) == 14.5
    assert tl.l1_l2(0.5, 0.5)(params) == 19.0


def test_defaults_equal_those_of_keras():
    w = tf.constant([3.0, -4.0])
    for ours, theirs in ((tl.l1(), "L1"), (tl.l2(), "L2"), (tl.l1_l2(), "L1L2")):
        np.testing.assert_array_equal(ours(w), getattr(keras.regularizers, theirs)()(w))


@pytest.mark.parametrize("factors", [{}, {"l1": 0.5}, {"l2": 0.5}])
@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        (["float32", "float64", "float16"], "float64"),
        (["float64"], "float64"),
        (["bfloat16", "float16"], "float32"),
        ([], "float32"),
    ],
)
def test_the_penalty_has_the_widest_dtype_of_the_parameters(dtypes, expected, factors):
    penalty = tl.l1_l2(**factors)([tf.constant(1, dtype) for dtype in dtypes])
    assert (penalty.shape, penalty.dtype) == ((), tf.as_dtype(expected))
    assert penalty == sum(factors.values()) * len(dtypes)


def test_low_precision_is_summed_in_float32():
    # In float16 the sum of squares overflows; in bfloat16 the sum of ones stops at 256.
    assert tl.l2(1.0)(tf.fill([4], tf.constant(300, tf.float16))) == 360000
    assert tl.l1(1.0)(tf.ones([1000], tf.bfloat16)) == 1000


@pytest.mark.parametrize("value", [-1, -1e-9, float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("name", "argument"), [("l1", "l1"), ("l2", "l2"), ("l1_l2", "l1"), ("l1_l2", "l2")]
)
def test_factors_out_of_range_are_rejected(name, argument, value):
    with pytest.raises(ValueError, match=f"^{argument} must be .*, got {value}"):
        getattr(tl, name)(**{argument: value})


@pytest.mark.parametrize("value", ["0.1", True, None, [0.1]])
@pytest.mark.parametrize(
    ("name", "argument"), [("l1", "l1"), ("l2", "l2"), ("l1_l2", "l1"), ("l1_l2", "l2")]
)
def test_factors_that_are_not_numbers_are_rejected(name, argument, value):
    with pytest.raises(TypeError, match=f"^{argument} must be a number"):
        getattr(tl, name)(**{argument: value})


def test_integer_parameters_are_rejected():
    with pytest.raises(TypeError, match="expected floating tensors, got one of dtype int32"):
        tl.l2()({"a": tf.constant([1, 2])})


def with_gradient(penalty, params, execution="eager"):
    """Return a penalty and its gradient."""

    return function_with_gradient(penalty, execution)(params)


def function_with_gradient(penalty, execution):
    """Return a function of the parameters that returns a penalty and its gradient."""

    @EXECUTIONS[execution]
    def both(params):
        with tf.GradientTape() as tape:
            tape.watch(params)
            total = penalty(params)
        return total, tape.gradient(total, params)

    return both


def mean_cosine(vectors):
    """Return the mean of |cosine| over the pairs of rows, pair by pair."""
    pairs = [
        abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b)
        for i, a in enumerate(vectors)
        for b in vectors[:i]
    ]
    return np.mean(pairs)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_orthogonal_is_the_mean_cosine_of_the_pairs(execution):
    w = np.random.default_rng(0).normal(size=(4, 5))
    for mode, vectors in (("rows", w), ("columns", w.T)):
        penalty, _ = with_gradient(orthogonal(0.3, mode), tf.constant(w), execution)
        np.testing.assert_allclose(penalty, 0.3 * mean_cosine(vectors), rtol=1e-14)


def test_the_defaults_of_orthogonal_equal_those_of_keras():
    w = tf.constant([[1.0, 2.0], [3.0, -4.0], [0.5, 0.5]])
    np.testing.assert_allclose(
        orthogonal()(w), keras.regularizers.OrthogonalRegularizer()(w), rtol=2**-22
    )


def test_orthogonal_rows_have_penalty_0_and_parallel_rows_the_factor():
    assert orthogonal(0.5)(tf.constant([[2.0, 0.0], [0.0, -3.0]])) == 0
    np.testing.assert_allclose(
        orthogonal(0.5)(tf.constant([[2.0, 1.0], [-4.0, -2.0]])), 0.5, rtol=2**-22
    )


@pytest.mark.parametrize("mode", ["rows", "columns"])
def test_kernels_of_more_axes_count_as_matrices(mode):
    w = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    kernel, matrix = tf.constant(w), tf.constant(w.reshape(24, 5))
    assert orthogonal(0.5, mode)(kernel) == orthogonal(0.5, mode)(matrix)


@pytest.mark.parametrize("execution", WITHOUT_XLA)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", ["rows", "columns"])
def test_a_single_row_has_penalty_0(mode, dtype, execution):
    w = np.ones((1, 3) if mode == "rows" else (3, 1), dtype)
    penalty, gradient = with_gradient(orthogonal(0.5, mode), tf.constant(w), execution)
    assert penalty == 0
    np.testing.assert_array_equal(gradient, 0 * w)


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_zero_rows_add_nothing_and_have_zero_gradients(dtype, execution):
    w = tf.constant([[1.0, 2.0], [0.0, 0.0], [3.0, 1.0], [0.0, -0.0]], dtype)
    both = function_with_gradient(orthogonal(0.5), execution)
    penalty, gradient = both(w)
    # One pair of six has a cosine: 5 / sqrt(5 10).
    np.testing.assert_allclose(penalty, 0.5 * 5 / np.sqrt(50) / 6, rtol=2**-22)
    assert np.isfinite(gradient).all() and np.any(gradient[0] != 0)
    np.testing.assert_array_equal(gradient[1::2], np.zeros((2, 2)))
    nothing, gradient = both(0 * w)
    assert nothing == 0
    np.testing.assert_array_equal(gradient, 0 * w)


def test_rows_of_any_size_have_finite_gradients():
    for size in (1e-30, 1e-12, 1e-7, 1e15):
        w = tf.constant([[size, 2 * size], [3.0, 1.0], [1.0, -1.0]])
        penalty, gradient = with_gradient(orthogonal(0.5), w)
        assert np.isfinite(penalty) and np.isfinite(gradient).all()


def test_orthogonal_is_computed_in_float32_or_wider():
    w = np.random.default_rng(0).normal(size=(4, 5))
    assert orthogonal()(tf.constant(w)).dtype == tf.float64
    low = tf.constant(w, tf.bfloat16)
    assert orthogonal()(low) == orthogonal()(tf.cast(low, tf.float32))


@pytest.mark.parametrize("shape", [[], [3]])
def test_orthogonal_rejects_vectors_and_names_their_shape(shape):
    with pytest.raises(ValueError, match="^orthogonal is for parameters of two or more axes, got"):
        orthogonal()({"a": tf.zeros(shape)})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"factor": -1}, ValueError, "^factor must be at least 0, got -1"),
        ({"factor": "1"}, TypeError, "^factor must be a number"),
        ({"mode": "row"}, ValueError, "unknown mode 'row': did you mean 'rows'"),
    ],
)
def test_orthogonal_rejects_invalid_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        orthogonal(**arguments)


PARAMS = {
    "encoder": {"kernel": tf.constant([[1.0]]), "bias": tf.constant([10.0])},
    "head": {"kernel": tf.constant([[100.0]]), "bias": tf.constant([1000.0])},
}


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (kernels, 101),
        (None, 1111),
        ("encoder/.*", 11),
        (".*/bias", 1010),
        ("head/kernel|encoder/bias", 110),
        (lambda path: path.startswith("head/"), 1100),
        (
            {
                "encoder": {"kernel": False, "bias": True},
                "head": {"kernel": False, "bias": False},
            },
            10,
        ),
    ],
)
def test_a_restricted_regularizer_penalizes_the_parameters_of_the_mask(mask, expected):
    penalty, gradients = with_gradient(restrict(tl.l1(1.0), mask), PARAMS)
    assert penalty == expected
    reached = [
        float(w.numpy().item())
        for w, gradient in zip(tf.nest.flatten(PARAMS), tf.nest.flatten(gradients), strict=True)
        if gradient is not None
    ]
    assert sum(reached) == expected


def test_restrict_selects_the_kernels_by_default():
    assert restrict(tl.l1(1.0))(PARAMS) == 101


def test_restrictions_nest_and_regularizers_receive_paths():
    inner = restrict(tl.l1(1.0), "encoder/.*")
    assert restrict(inner, kernels)(PARAMS) == 1
    seen = {}
    restrict(lambda params: seen.update(params), ".*/bias")(PARAMS)
    assert list(seen) == ["encoder/bias", "head/bias"]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (
            "kernel",
            "no parameter path fully matches 'kernel'; the paths are encoder",
        ),
        ("encoder", "no parameter path fully matches 'encoder'"),
        ("(", r"'\(' is not a valid regular expression"),
        ({"encoder": True}, "mask must have the structure of params"),
    ],
)
def test_invalid_masks_are_rejected(mask, message):
    with pytest.raises(ValueError, match=message):
        restrict(tl.l1(), mask)(PARAMS)


def test_two_parameters_with_the_same_path_are_rejected():
    params = {"a": {"b": tf.constant([1.0])}, "a/b": tf.constant([2.0])}
    with pytest.raises(ValueError, match="the same path"):
        restrict(tl.l1(), None)(params)


def small_trainer(**options):
    def apply_fn(params, model_state, x, training):
        return tl.ModelOutput(x @ params["kernel"] + params["bias"])

    params = {"kernel": tf.ones([2, 1]), "bias": tf.fill([1], 8.0)}
    model = tl.FunctionalModel(apply_fn, params, ())
    return tl.Trainer(model, "mean_squared_error", tl.sgd(0.0), **options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 0),
        ({"regularizer": tl.l1(1.0)}, 2),
        ({"regularizer": tl.l1(1.0), "regularizer_mask": None}, 10),
        ({"regularizer": tl.l1(1.0), "regularizer_mask": "bias"}, 8),
        ({"regularizer": tl.l1(1.0), "regularizer_mask": lambda path: path == "kernel"}, 2),
    ],
)
def test_a_trainer_penalizes_the_parameters_of_its_mask(options, expected):
    data = np.zeros((4, 2), np.float32), np.full((4, 1), 8, np.float32)
    assert small_trainer(**options).evaluate(data)["loss"] == expected


def test_a_trainer_rejects_a_mask_that_matches_nothing_when_it_is_made():
    with pytest.raises(ValueError, match="'encoder/.*'; the paths are bias, kernel"):
        small_trainer(regularizer=tl.l2(), regularizer_mask="encoder/.*")

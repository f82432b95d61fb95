"""Losses, their gradients and their reductions are those of Keras, whatever runs them."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

BATCHES, BATCH, K = 100, 8, 5
LOGITS = {"from_logits": True}
SMOOTH = {"label_smoothing": 0.1}
# The name of a loss, its options, and the kind of its examples.
CASES = {
    "mse": ("mean_squared_error", {}, "numbers"),
    "mae": ("mean_absolute_error", {}, "numbers"),
    "huber": ("huber", {}, "numbers"),
    "huber 0.3": ("huber", {"delta": 0.3}, "numbers"),
    "bce": ("binary_crossentropy", {}, "binary probabilities"),
    "bce smooth": ("binary_crossentropy", SMOOTH, "binary probabilities"),
    "bce logits": ("binary_crossentropy", LOGITS, "binary logits"),
    "bce logits smooth": ("binary_crossentropy", LOGITS | SMOOTH, "binary logits"),
    "cce": ("categorical_crossentropy", {}, "probabilities"),
    "cce smooth": ("categorical_crossentropy", SMOOTH, "probabilities"),
    "cce logits": ("categorical_crossentropy", LOGITS, "logits"),
    "cce logits smooth": ("categorical_crossentropy", LOGITS | SMOOTH, "logits"),
    "scce": ("sparse_categorical_crossentropy", {}, "sparse probabilities"),
    "scce logits": ("sparse_categorical_crossentropy", LOGITS, "sparse logits"),
}
RUNS = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f),
    "xla": lambda f: tf.function(f, jit_compile=True),
}


def examples(kind, dtype):
    """y_true and y_pred of 100 random batches and of one with the edges, stacked."""
    rng = np.random.default_rng(0)
    shape = (BATCHES + 1, BATCH, K)
    classes = rng.integers(K, size=shape[:-1])
    if kind == "numbers":
        y_true, y_pred = rng.normal(size=shape), rng.normal(size=shape)
        y_pred[-1] = y_true[-1]
        return y_true.astype(dtype), y_pred.astype(dtype)
    if kind.endswith("probabilities"):
        y_pred = rng.uniform(size=shape)
        y_pred[-1] = rng.choice([0, 1e-9, 1e-7, 0.5, 1 - 1e-7, 1], size=shape[1:])
        y_pred[-1, :, 0] += 0.25  # No row sums to 0.
    else:
        y_pred = 4 * rng.normal(size=shape)
        y_pred[-1] = rng.choice([-800, 0, 800], size=shape[1:])
    if kind.startswith("sparse"):
        return classes, y_pred.astype(dtype)
    hard = rng.integers(2, size=shape) if kind.startswith("binary") else np.eye(K)[classes]
    soft = rng.dirichlet(np.ones(K), size=shape[:-1])
    y_true = np.where(rng.integers(2, size=shape[:-1] + (1,)), hard, soft)
    return y_true.astype(dtype), y_pred.astype(dtype)


def values_and_slopes(loss, y_true, y_pred):
    """The losses, and the gradient of their sum, each times another weight."""
    weights = np.linspace(0.5, 2, y_pred.shape.num_elements()).reshape(y_pred.shape)[..., 0]
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        values = loss(y_true, y_pred)
        total = tf.reduce_sum(tf.constant(weights, y_pred.dtype) * values)
    return values, tape.gradient(total, y_pred)


def of_ours(name, y_true, y_pred, run="eager", **options):
    loss = functools.partial(getattr(tl.losses, name), **options)
    both = RUNS[run](functools.partial(values_and_slopes, loss))
    return [x.numpy() for x in both(tf.constant(y_true), tf.constant(y_pred))]


@functools.cache
def of_keras(case, dtype):
    """Runs eagerly, on plain tensors: of the output of a softmax Keras takes the logits instead."""
    name, options, kind = CASES[case]
    loss = functools.partial(getattr(keras.losses, name), **options)
    return [x.numpy() for x in values_and_slopes(loss, *map(tf.constant, examples(kind, dtype)))]


# Under XLA the operations come in another order: float32 results differ by their own roundings.
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-12), ("float32", 4 * 2**-23)])
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("case", CASES)
def test_losses_and_their_gradients_are_those_of_keras(case, run, dtype, rtol):
    name, options, kind = CASES[case]
    values, slopes = of_ours(name, *examples(kind, dtype), run, **options)
    their_values, their_slopes = of_keras(case, dtype)
    assert np.isfinite(their_values).all() and np.isfinite(their_slopes).all()
    # Small results are differences of numbers near 1: z[y] and logsumexp z, or p and y.
    atol = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(values, their_values, rtol=rtol, atol=atol)
    # Through the sum of its row, each slope has a share in the rounding of the largest.
    largest = np.max(np.abs(their_slopes), axis=-1, keepdims=True)
    assert np.all(np.abs(slopes - their_slopes) <= rtol * largest + atol)


OUTSIDE = -np.log(1e-7)
PROBABILITIES = [
    ("binary_crossentropy", [1.0], [0.0], OUTSIDE),
    ("binary_crossentropy", [0.0], [1.0], OUTSIDE),
    ("binary_crossentropy", [1.0], [1.0], -np.log(1 - 1e-7)),
    ("binary_crossentropy", [0.0], [-0.5], -np.log(1 - 1e-7)),
    ("binary_crossentropy", [0.0, 1.0], [5e-8, 1.5], -np.log(1 - 1e-7)),
    ("categorical_crossentropy", [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], OUTSIDE),
    ("categorical_crossentropy", [1.0, 0.0, 0.0], [3.0, 0.0, 0.0], -np.log(1 - 1e-7)),
    ("categorical_crossentropy", [0.0, 1.0, 0.0], [1.0, 2e-8, 1e-8], OUTSIDE),
    ("sparse_categorical_crossentropy", 0, [0.0, 1.0, 0.0], OUTSIDE + np.log(1 + 1e-7)),
    ("sparse_categorical_crossentropy", 0, [1.0, 0.0, 0.0], np.log(1 + 1e-7) - np.log(1 - 1e-7)),
    ("sparse_categorical_crossentropy", 0, [2.0, 1.0, 1.0], np.log(3)),
]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(("name", "y_true", "y_pred", "expected"), PROBABILITIES)
def test_probabilities_are_clipped_and_their_gradient_is_0_outside(
    name, y_true, y_pred, expected, run
):
    values, slopes = of_ours(name, np.array([y_true]), np.array([y_pred]), run)
    # 1 - (1 - 1e-7) is 1e-7 to nine digits.
    np.testing.assert_allclose(values, [expected], rtol=1e-9)
    assert not slopes.any()


def test_categorical_probabilities_are_normalised_before_they_are_clipped():
    y_true, y_pred = np.array([[1.0, 0.0, 0.0]]), np.array([[2.0, 1.0, 1.0]])
    values, slopes = of_ours("categorical_crossentropy", y_true, y_pred)
    np.testing.assert_allclose(values, [np.log(2)], rtol=1e-15)
    np.testing.assert_allclose(slopes, [[-0.125, 0.125, 0.125]], rtol=1e-15)


@pytest.mark.parametrize("run", RUNS)
def test_the_output_of_a_softmax_is_taken_for_the_probabilities_that_it_is(run):
    # Keras goes back to the logits of a softmax in a graph, and answers 100.
    @RUNS[run]
    def loss(z):
        return tl.losses.sparse_categorical_crossentropy([1], tf.nn.softmax(z))

    np.testing.assert_allclose(loss(tf.constant([[100.0, 0, 0]], tf.float64)), [OUTSIDE], rtol=1e-7)


def test_a_wrong_and_certain_float32_probability_costs_15_94():
    # The nearest float32 number to 1 - 1e-7 is 1 - 2^-23.
    loss = tl.losses.binary_crossentropy(tf.constant([[0.0]]), tf.constant([[1.0]]))
    np.testing.assert_allclose(loss, [23 * np.log(2)], rtol=2**-23)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(
    ("name", "y_true", "z", "expected", "slope"),
    [
        ("binary_crossentropy", [1.0], [-800.0], 800, [-1]),
        ("binary_crossentropy", [0.0], [-800.0], 0, [0]),
        ("binary_crossentropy", [0.0], [800.0], 800, [1]),
        ("binary_crossentropy", [1.0], [800.0], 0, [0]),
        # A new model whose last layer is 0 has these logits.
        ("binary_crossentropy", [1.0], [0.0], np.log(2), [-0.5]),
        ("binary_crossentropy", [0.0], [-0.0], np.log(2), [0.5]),
        ("categorical_crossentropy", [1.0, 0.0], [-800.0, 800.0], 1600, [-1, 1]),
        ("categorical_crossentropy", [1.0, 0.0], [800.0, -800.0], 0, [0, 0]),
        ("categorical_crossentropy", [1.0, 0.0], [800.0, 800.0], np.log(2), [-0.5, 0.5]),
        ("sparse_categorical_crossentropy", 0, [-800.0, 800.0], 1600, [-1, 1]),
        ("sparse_categorical_crossentropy", 0, [800.0, -800.0], 0, [0, 0]),
        ("sparse_categorical_crossentropy", 0, [0.0, 0.0], np.log(2), [-0.5, 0.5]),
    ],
)
def test_logits_have_no_edge(name, y_true, z, expected, slope, run):
    values, slopes = of_ours(name, np.array([y_true]), np.array([z]), run, from_logits=True)
    np.testing.assert_allclose(values, [expected], rtol=1e-15)
    np.testing.assert_allclose(slopes, [np.array(slope) * 0.5], rtol=1e-15)


@pytest.mark.parametrize("run", RUNS)
def test_huber_is_a_parabola_up_to_and_at_delta_and_a_line_beyond(run):
    delta = 0.75
    e = np.array([0, -0.0, delta, -delta, np.nextafter(delta, 0), np.nextafter(delta, 1), 1e200])
    options = {"delta": delta}
    values, slopes = of_ours("huber", np.zeros((len(e), 1)), e[:, np.newaxis], run, **options)
    weights = np.linspace(0.5, 2, len(e))
    expected = np.where(abs(e) <= delta, 0.5 * delta**2, delta * abs(e) - 0.5 * delta**2)
    np.testing.assert_allclose(values[2:], expected[2:], rtol=1e-15)
    assert not values[:2].any()
    np.testing.assert_allclose(slopes[:, 0], weights * np.clip(e, -delta, delta), rtol=1e-15)


@pytest.mark.parametrize("options", [{}, LOGITS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_smoothed_categorical_crossentropy_of_two_classes_is_the_binary_one(smoothing, options):
    rng = np.random.default_rng(0)
    y, p = rng.uniform(size=(2, 100, 1))
    z = np.log(p / (1 - p))
    both, one = (np.hstack([0 * z, z]), z) if options else (np.hstack([1 - p, p]), p)
    options = options | {"label_smoothing": smoothing}
    np.testing.assert_allclose(
        tl.losses.categorical_crossentropy(np.hstack([1 - y, y]), both, **options),
        tl.losses.binary_crossentropy(y, one, **options),
        rtol=1e-12,
    )


ELEMENTWISE = {
    "mean_squared_error": "MeanSquaredError",
    "mean_absolute_error": "MeanAbsoluteError",
    "huber": "Huber",
    "binary_crossentropy": "BinaryCrossentropy",
}


@pytest.mark.parametrize(("shape", "other"), [((6,), (6, 1)), ((6, 1), (6,)), ((6, 1), (6, 1))])
@pytest.mark.parametrize(("name", "peer"), ELEMENTWISE.items())
def test_a_last_axis_of_1_may_be_left_out(name, peer, shape, other):
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.uniform(size=shape), rng.uniform(size=other)
    theirs = getattr(keras.losses, peer)(reduction="none", dtype="float64")(y_true, y_pred)
    ours = getattr(tl.losses, name)(y_true, y_pred)
    assert ours.shape == (6,)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize(("shape", "other"), [((6, 3), (6, 3, 1)), ((6, 3, 1), (6, 3))])
def test_a_sequence_without_its_last_axis_keeps_a_loss_for_each_element(shape, other):
    # Keras takes the last axis away from the other one instead, and returns their mean.
    y_true, y_pred = np.zeros(shape), np.arange(18.0).reshape(other)
    loss = tl.losses.mean_absolute_error(y_true, y_pred)
    np.testing.assert_array_equal(loss, np.arange(18.0).reshape(6, 3))


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float32"])
@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_classes_may_be_of_any_dtype_and_with_or_without_a_last_axis(shape, dtype):
    y, z = np.array([0, 1, 2, 2, 1, 0]), np.random.default_rng(0).normal(size=(6, 3))
    theirs = keras.losses.sparse_categorical_crossentropy(y, tf.constant(z), from_logits=True)
    y = y.astype(dtype).reshape(shape)
    ours = tl.losses.sparse_categorical_crossentropy(y, z, from_logits=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("float64", "float64"),
        ("float32", "float32"),
        ("bfloat16", "float32"),
        ("float16", "float32"),
    ],
)
@pytest.mark.parametrize("case", CASES)
def test_losses_run_in_float32_or_in_the_float64_of_y_pred(case, dtype, expected):
    name, options, kind = CASES[case]
    loss = functools.partial(getattr(tl.losses, name), **options)
    y_pred = tf.cast([[0.25, 0.25, 0.5], [0.125, 0.5, 0.375]], dtype)
    for y_dtype in ("float64", "float16", "int32"):
        y_true = tf.ones([2] if kind.startswith("sparse") else [2, 3], y_dtype)
        assert loss(y_true, y_pred).dtype == expected
        wide = loss(y_true, tf.cast(y_pred, expected))
        np.testing.assert_array_equal(loss(y_true, y_pred), wide)


def weighted_batches(values_shape, weights_shape):
    """y_true, y_pred and sample weights of 100 batches; those of the first are all 0."""
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.normal(size=(2, BATCHES, *values_shape, K))
    if weights_shape is None:
        return y_true, y_pred
    weight = rng.choice([0, 0.5, 1, 3], size=(BATCHES, *weights_shape))
    weight[0] = 0
    return y_true, y_pred, weight


@functools.cache
def keras_reductions(values_shape, weights_shape, reduction):
    y_true, y_pred, *weight = weighted_batches(values_shape, weights_shape)
    if weight and weights_shape != values_shape:
        # Keras takes no weight of an example where it has more losses than one: spread by hand.
        weight = [np.repeat(weight[0][..., np.newaxis], values_shape[-1], axis=-1)]
    loss = keras.losses.MeanSquaredError(reduction=reduction, dtype="float64")
    return np.array([loss(*batch) for batch in zip(y_true, y_pred, *weight, strict=True)])


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("reduction", tl.losses.REDUCTIONS)
@pytest.mark.parametrize(
    ("values_shape", "weights_shape"),
    [((BATCH,), None), ((BATCH,), (BATCH,)), ((BATCH, 3), (BATCH, 3)), ((BATCH, 3), (BATCH,))],
)
def test_reductions_are_those_of_keras(values_shape, weights_shape, reduction, run):
    def of_batch(batch):
        y_true, y_pred, *weight = batch
        values = tl.losses.mean_squared_error(y_true, y_pred)
        return tl.losses.reduce(values, *weight, reduction=reduction)

    reduce_all = RUNS[run](lambda *all: tf.map_fn(of_batch, all, fn_output_signature="float64"))
    ours = reduce_all(*map(tf.constant, weighted_batches(values_shape, weights_shape)))
    theirs = keras_reductions(values_shape, weights_shape, reduction)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_a_square_of_losses_is_weighted_by_example():
    # Keras takes the weights of a [3, 3] of losses for those of its columns.
    values = tf.constant([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    weight = tf.constant([2.0, 0.0, 0.0])
    assert tl.losses.reduce(values, weight, "sum") == 6.0
    assert tl.losses.reduce(values, weight, "mean_with_sample_weight") == 1.0
    expected = 2 * values.numpy()
    np.testing.assert_array_equal(tl.losses.reduce(values, weight, "none"), expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_pairs_of_unequal_parts_add_up_to_the_pair_of_the_whole(weighted):
    rng = np.random.default_rng(0)
    values, weight = rng.normal(size=(100, 3)), rng.choice([0, 1, 3.5], size=100)
    edges = [0, 1, 1, 40, 97, 100]
    parts = [
        tl.losses.weighted_sum(values[a:b], weight[a:b] if weighted else None)
        for a, b in zip(edges, edges[1:], strict=False)
    ]
    whole = tl.losses.weighted_sum(values, weight if weighted else None)
    np.testing.assert_allclose(np.sum(parts, axis=0), whole, rtol=1e-12)
    expected = np.average(values.mean(-1), weights=weight if weighted else None)
    np.testing.assert_allclose(whole[0] / whole[1], expected, rtol=1e-12)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("reduction", tl.losses.REDUCTIONS)
def test_weights_of_0_give_a_loss_and_a_gradient_of_0(reduction, run):
    @RUNS[run]
    def loss_and_slope(y_pred):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            values = tl.losses.mean_squared_error(tf.zeros([2, 3]), y_pred)
            loss = tl.losses.reduce(values, tf.zeros([2]), reduction)
        return loss, tape.gradient(loss, y_pred)

    loss, slope = loss_and_slope(tf.ones([2, 3]))
    assert not loss.numpy().any()
    assert not slope.numpy().any()


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight", "sum"])
def test_an_empty_batch_has_a_loss_of_0(reduction):
    # Keras returns an empty tensor.
    values = tl.losses.mean_squared_error(tf.zeros([0, 3]), tf.zeros([0, 3]))
    for weight in (None, tf.zeros([0])):
        loss = tl.losses.reduce(values, weight, reduction)
        assert (loss.shape, float(loss)) == ((), 0.0)


@pytest.mark.parametrize("name", ["binary_crossentropy", "categorical_crossentropy"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_label_smoothing_out_of_range_is_refused(name, value):
    message = f"^label_smoothing must be .*at least 0 and at most 1, got {value}"
    with pytest.raises(ValueError, match=message):
        getattr(tl.losses, name)(tf.ones([2, 2]), tf.ones([2, 2]), label_smoothing=value)


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf")])
def test_a_delta_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match=f"^delta must be .*above 0, got {value}"):
        tl.losses.huber(tf.ones([2, 2]), tf.ones([2, 2]), delta=value)


@pytest.mark.parametrize("value", ["0.1", True, None, [0.1]])
@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("binary_crossentropy", "label_smoothing"),
        ("categorical_crossentropy", "label_smoothing"),
        ("huber", "delta"),
    ],
)
def test_options_that_are_no_numbers_are_refused(name, argument, value):
    with pytest.raises(TypeError, match=f"^{argument} must be a number"):
        getattr(tl.losses, name)(tf.ones([2, 2]), tf.ones([2, 2]), **{argument: value})


NAMES = sorted({name for name, _, _ in CASES.values()})


@pytest.mark.parametrize("name", NAMES)
def test_predictions_that_are_not_floating_or_have_no_axis_are_refused(name):
    with pytest.raises(TypeError, match="^y_pred must be of a floating dtype, got int32"):
        getattr(tl.losses, name)(tf.ones([2], tf.int32), tf.ones([2, 2], tf.int32))
    with pytest.raises(ValueError, match=r"^y_pred must have shape \[batch, ..., d\]"):
        getattr(tl.losses, name)(tf.constant(1.0), tf.constant(1.0))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 3), (6, 4), (6, 1, 3), (3,), ()])
def test_shapes_that_would_have_to_be_broadcast_are_refused(name, shape):
    if name == "sparse_categorical_crossentropy":
        shape = shape[:-1] + (2,)
    with pytest.raises(ValueError, match=r"^y_true .*must have .*shape"):
        getattr(tl.losses, name)(tf.zeros(shape), tf.ones([6, 3]))


@pytest.mark.parametrize("shape", [(3,), (6, 1), (1,), (6, 3, 1)])
def test_weights_of_another_shape_are_refused(shape):
    for reduction in tl.losses.REDUCTIONS:
        with pytest.raises(ValueError, match="^sample_weight must have the shape of the losses"):
            tl.losses.reduce(tf.zeros([6, 3]), tf.ones(shape), reduction)


def test_an_unknown_reduction_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match="unknown reduction 'sums': did you mean 'sum'"):
        tl.losses.reduce(tf.zeros([6]), reduction="sums")


@pytest.mark.parametrize("label", [-1, 3])
def test_a_class_out_of_range_raises_and_under_xla_is_nan(label):
    z = tf.constant([[0.0, 1.0, 2.0]])
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"label value of {label}"):
        tl.losses.sparse_categorical_crossentropy([label], z, from_logits=True)
    loss = tf.function(tl.losses.sparse_categorical_crossentropy, jit_compile=True)
    assert np.isnan(loss(tf.constant([label]), z)).all()

"""Reductions, weights and masks agree with Keras and PyTorch."""

from __future__ import annotations

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import graph

import trainlib.losses as losses
from trainlib.optimizers import sgd
from trainlib.step import ModelOutput, StepConfig, init_state, train_step

BATCHES, BATCH, K = 20, 8, 5
# Before 3.15 Keras rounds the fraction of the losses that count to float32.
NEAR_MASKS_OF_KERAS = 1e-12 if [*map(int, keras.version().split(".")[:2])] >= [3, 15] else 1e-7


def weighted_batches(values_shape, weights_shape):
    """y_true, y_pred and sample weights of batches; those of the first are all 0."""
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
    loss = graph(keras.losses.MeanSquaredError(reduction=reduction, dtype="float64"))
    batches = map(tf.constant, (y_true, y_pred, *weight))
    return np.array([loss(*batch) for batch in zip(*batches, strict=True)])


@pytest.mark.parametrize(
    ("values_shape", "weights_shape"),
    [((BATCH,), None), ((BATCH,), (BATCH,)), ((BATCH, 3), (BATCH, 3)), ((BATCH, 3), (BATCH,))],
)
def test_reductions_equal_those_of_keras(values_shape, weights_shape, execution):
    def of_batch(batch):
        y_true, y_pred, *weight = batch
        values = losses.mean_squared_error(y_true, y_pred)
        return [losses.reduce(values, *weight, reduction=name) for name in losses.REDUCTIONS]

    dtypes = ["float64" for _ in losses.REDUCTIONS]
    reduce_all = execution(lambda *all: tf.map_fn(of_batch, all, fn_output_signature=dtypes))
    found = reduce_all(*map(tf.constant, weighted_batches(values_shape, weights_shape)))
    for reduction, ours in zip(losses.REDUCTIONS, found, strict=True):
        theirs = keras_reductions(values_shape, weights_shape, reduction)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, err_msg=reduction)


def test_a_square_matrix_of_losses_is_weighted_by_example():
    # Keras takes the weights of a [3, 3] of losses for those of its columns.
    values = tf.constant([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    weight = tf.constant([2.0, 0.0, 0.0])
    assert losses.reduce(values, weight, "sum") == 6.0
    assert losses.reduce(values, weight, "mean_with_sample_weight") == 1.0
    expected = 2 * values.numpy()
    np.testing.assert_array_equal(losses.reduce(values, weight, "none"), expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_pairs_of_unequal_parts_add_up_to_the_pair_of_the_batch(weighted):
    rng = np.random.default_rng(0)
    values, weight = rng.normal(size=(100, 3)), rng.choice([0, 1, 3.5], size=100)
    edges = [0, 1, 1, 40, 97, 100]
    parts = [
        losses.weighted_sum(values[a:b], weight[a:b] if weighted else None)
        for a, b in zip(edges, edges[1:], strict=False)
    ]
    whole = losses.weighted_sum(values, weight if weighted else None)
    np.testing.assert_allclose(np.sum(parts, axis=0), whole, rtol=1e-12)
    expected = np.average(values.mean(-1), weights=weight if weighted else None)
    np.testing.assert_allclose(whole[0] / whole[1], expected, rtol=1e-12)


@pytest.mark.parametrize("reduction", losses.REDUCTIONS)
def test_zero_weights_give_a_zero_loss_and_gradient(reduction, execution):
    @execution
    def loss_and_gradient(y_pred):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            values = losses.mean_squared_error(tf.zeros([2, 3]), y_pred)
            loss = losses.reduce(values, tf.zeros([2]), reduction)
        return loss, tape.gradient(loss, y_pred)

    loss, gradient = loss_and_gradient(tf.ones([2, 3]))
    assert not loss.numpy().any()
    assert not gradient.numpy().any()


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight", "sum"])
def test_an_empty_batch_has_loss_0(reduction):
    # Keras returns an empty tensor.
    values = losses.mean_squared_error(tf.zeros([0, 3]), tf.zeros([0, 3]))
    for weight in (None, tf.zeros([0])):
        loss = losses.reduce(values, weight, reduction)
        assert (loss.shape, float(loss)) == ((), 0.0)


@pytest.mark.parametrize("shape", [(3,), (6, 1), (1,), (6, 3, 1)])
def test_weights_of_another_shape_are_rejected(shape):
    for reduction in losses.REDUCTIONS:
        with pytest.raises(ValueError, match="^sample_weight must have the shape of the losses"):
            losses.reduce(tf.zeros([6, 3]), tf.ones(shape), reduction)


def test_an_unknown_reduction_is_rejected_with_the_nearest_name():
    with pytest.raises(ValueError, match="unknown reduction 'sums': did you mean 'sum'"):
        losses.reduce(tf.zeros([6]), reduction="sums")


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight", "sum"])
@pytest.mark.parametrize("parted", [False, True])
def test_pairs_of_weighted_masked_and_empty_parts_add_up_to_the_whole(parted, reduction):
    rng = np.random.default_rng(0)
    y, z = rng.integers(-1, 3, size=(20, 4)), rng.normal(size=(20, 4, 3))
    y[5:9] = -1
    w = rng.choice([0, 0.5, 2], size=20)
    options = {"from_logits": True, "ignore_class": -1}

    def pair(a, b):
        loss = losses.sparse_categorical_crossentropy(y[a:b], z[a:b], **options)
        return losses.weighted_sum(loss, w[a:b])

    edges = [0, 3, 3, 5, 9, 20] if parted else [0, 20]
    total, weight = np.sum([pair(a, b) for a, b in itertools.pairwise(edges)], axis=0)
    spread = np.repeat(w[:, np.newaxis], 4, axis=1)
    keras_loss = keras.losses.SparseCategoricalCrossentropy(
        reduction=reduction, dtype="float64", **options
    )
    expected = keras_loss(y, z, sample_weight=spread).numpy()
    divisors = {"sum_over_batch_size": np.sum(y != -1), "sum": 1.0}
    found = total / divisors.get(reduction, weight)
    np.testing.assert_allclose(found, expected, rtol=NEAR_MASKS_OF_KERAS)
    whole = losses.sparse_categorical_crossentropy(y, z, **options)
    np.testing.assert_allclose(losses.reduce(whole, w, reduction), found, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", losses.REDUCTIONS)
@pytest.mark.parametrize("some", [True, False])
def test_masks_have_the_effect_of_keras(reduction, weighted, some, execution):
    rng = np.random.default_rng(0)
    y, z = rng.integers(3, size=8), rng.normal(size=(8, 3))
    y = np.where(rng.uniform(size=8) < 0.5, 255, y) if some else np.full(8, 255)
    weight = [rng.choice([0, 0.5, 2], size=8)] if weighted else [None]
    options = {"from_logits": True, "ignore_class": 255}

    def loss_by_name(y, z):
        loss = losses.sparse_categorical_crossentropy(y, z, **options)
        return losses.reduce(loss, *weight, reduction)

    theirs = keras.losses.SparseCategoricalCrossentropy(
        reduction=reduction, dtype="float64", **options
    )
    expected = theirs(y, z, *weight)
    np.testing.assert_allclose(execution(loss_by_name)(y, z), expected, rtol=NEAR_MASKS_OF_KERAS)


@pytest.mark.parametrize("reduction", losses.REDUCTIONS)
def test_the_mask_of_circle_has_the_effect_of_keras(reduction):
    rng = np.random.default_rng(0)
    z, weight = rng.normal(size=(8, 3)), rng.uniform(size=8)
    y, z = [0, 0, 1, 1, 2, 2, 3, 4], z / np.linalg.norm(z, axis=-1, keepdims=True)
    theirs = keras.losses.Circle(reduction=reduction, dtype="float64")
    for w in (None, weight):
        found = losses.reduce(losses.circle(y, z), w, reduction)
        expected = theirs(np.array(y), z, w)
        np.testing.assert_allclose(found, expected, rtol=NEAR_MASKS_OF_KERAS)


def test_a_training_step_averages_over_the_losses_under_the_mask():
    y, z = np.array([0, -1, 2, -1, -1]), np.random.default_rng(0).normal(size=(5, 3))
    loss = functools.partial(
        losses.sparse_categorical_crossentropy, from_logits=True, ignore_class=-1
    )

    def apply_fn(params, model_state, x, training):
        return ModelOutput(x + params)

    start = init_state(tf.zeros([3], tf.float64), (), sgd(1.0))
    state, metrics = train_step(StepConfig(apply_fn, loss, sgd(1.0)))(start, (z, y))
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    expected = (np.eye(3)[[0, 2]] - p[[0, 2]]).mean(0)
    np.testing.assert_allclose(state.params, expected, rtol=1e-12)
    assert metrics["loss"].count == 2


WEIGHTS = {0: 0.5, 2: 3.0}
CLASSES = np.array([0, 1, 2, 2, 0, 1, 1, 2])


def train_on_batch(y, x, **weights):
    """The loss and the kernel of a Keras model after a step."""
    inputs = keras.Input([4], dtype="float64")
    dense = keras.layers.Dense(3, use_bias=False, kernel_initializer="ones", dtype="float64")
    model = keras.Model(inputs, dense(inputs))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float64")
    if y.ndim > 1:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, dtype="float64")
    model.compile(keras.optimizers.SGD(0.5), loss)
    value = model.train_on_batch(x, y, **weights)
    return value, model.get_weights()[0]


@pytest.mark.parametrize("rows", [False, True])
def test_class_weights_equal_the_class_weight_of_keras(rows):
    x = np.random.default_rng(0).normal(size=(8, 4))
    y = np.eye(3)[CLASSES] if rows else CLASSES
    weight = losses.class_weights(y, WEIGHTS, dtype="float64")
    kernel = tf.ones([4, 3], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        values = losses.sparse_categorical_crossentropy(CLASSES, x @ kernel, from_logits=True)
        loss = losses.reduce(values, weight)
    value, moved = train_on_batch(y, x, class_weight=WEIGHTS)
    np.testing.assert_allclose(loss, value, rtol=1e-6)
    np.testing.assert_allclose(kernel - 0.5 * tape.gradient(loss, kernel), moved, rtol=1e-9)


def test_class_weights_equal_the_weight_of_torch():
    torch = pytest.importorskip("torch")
    z, weights = np.random.default_rng(0).normal(size=(8, 3)), [0.5, 1.25, 3.0]
    logits = tf.constant(z)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        values = losses.sparse_categorical_crossentropy(CLASSES, logits, from_logits=True)
        weight = losses.class_weights(CLASSES, weights, dtype="float64")
        loss = losses.reduce(values, weight, "mean_with_sample_weight")
    theirs = torch.tensor(z, requires_grad=True)
    criterion = torch.nn.CrossEntropyLoss(torch.tensor(weights, dtype=torch.float64))
    value = criterion(theirs, torch.tensor(CLASSES))
    value.backward()
    np.testing.assert_allclose(loss, value.item(), rtol=1e-12)
    gradient = tape.gradient(loss, logits)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize(
    "y",
    [
        CLASSES,
        CLASSES[:, np.newaxis],
        CLASSES.astype("uint8"),
        CLASSES.astype("float32"),
        np.eye(3)[CLASSES],
        np.eye(3, dtype="int64")[CLASSES],
        0.1 + 0.8 * np.eye(3)[CLASSES],
    ],
)
def test_classes_may_be_indices_or_rows_of_any_dtype(y, execution):
    found = execution(lambda y: losses.class_weights(y, WEIGHTS))(tf.constant(y))
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, [0.5, 1, 3, 3, 0.5, 1, 1, 3])


def test_a_class_without_a_weight_has_weight_1():
    y = np.array([-1, 0, 1, 7])
    np.testing.assert_array_equal(losses.class_weights(y, [0.5, 2.0]), [1, 0.5, 2, 1])
    np.testing.assert_array_equal(losses.class_weights(y, {-1: 0.0, 7: 4.0}), [0, 1, 1, 4])
    np.testing.assert_array_equal(losses.class_weights(y, {}), [1, 1, 1, 1])


def test_one_hot_false_takes_two_axes_as_indices():
    y = np.array([[0, 1, 2], [2, 2, 0]])
    found = losses.class_weights(y, WEIGHTS, one_hot=False)
    np.testing.assert_array_equal(found, [[0.5, 1, 3], [3, 3, 0.5]])
    np.testing.assert_array_equal(losses.class_weights(y, WEIGHTS), [3, 0.5])


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ({0: -1.0}, ValueError, "the weight of class 0 must be at least 0, got -1"),
        ([1.0, float("nan")], ValueError, "the weight of class 1 must be finite"),
        ({1: "2"}, TypeError, "the weight of class 1 must be a number, got '2'"),
        ({"cat": 2.0}, TypeError, "a class of weights must be an integer, got 'cat'"),
    ],
)
def test_invalid_class_weights_are_rejected(weights, error, message):
    with pytest.raises(error, match=f"^{message}"):
        losses.class_weights(CLASSES, weights)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_loss_of_weight_zero_does_not_count_even_if_it_is_not_finite(value, execution):
    @execution
    def loss_and_gradient(values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            loss = losses.reduce(values, tf.constant([2.0, 0.0]))
        return loss, tape.gradient(loss, values)

    loss, gradient = loss_and_gradient(tf.constant([3.0, value]))
    assert (float(loss), gradient.numpy().tolist()) == (3.0, [1.0, 0.0])

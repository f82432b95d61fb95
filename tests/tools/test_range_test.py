"""`lr_finder`: its learning rates, its batches, its end, and that the model is not changed."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import soak_except
from helpers.smoothing import weighted_means

import trainlib as tl
from trainlib.data import load_dataset, take
from trainlib.schedules import exponential_decay
from trainlib.tools.loss_curve import RangeTest
from trainlib.tools.range_test import lr_finder
from trainlib.training.functional_model import FunctionalModel
from trainlib.training.order import epoch_order
from trainlib.training.trainer import Trainer

RNG = np.random.default_rng(0)
STEPS = 100
X = RNG.normal(size=(23, 4)).astype("float32")
Y = RNG.integers(0, 3, 23)
crossentropy = functools.partial(tl.losses.sparse_categorical_crossentropy, from_logits=True)
find = functools.partial(lr_finder, execution="graph")


def one_parameter(w):
    """A model that predicts its only parameter for every x."""
    params = {"w": tf.constant(w, tf.float64)}

    def apply_fn(params, model_state, x, training):
        ones = tf.ones(tf.shape(x)[:1], params["w"].dtype)
        return tl.ModelOutput(params["w"] * ones, model_state)

    return FunctionalModel(apply_fn, params)


def net(dropout=0.0):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input([4]),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(3),
        ]
    )


@pytest.mark.parametrize(
    ("start", "end", "steps"), [(1e-7, 10.0, 100), (1e-3, 0.5, 10), (0.1, 0.2, 37)]
)
def test_the_update_on_batch_k_has_learning_rate_eta_k(start, end, steps):
    seen = []
    result = find(
        one_parameter(100.0),
        lambda y_true, y_pred: y_pred,  # its gradient is 1: each update subtracts the learning rate
        tl.sgd,
        (np.zeros(8), np.zeros(8)),
        batch_size=4,
        range_test=RangeTest(start_lr=start, end_lr=end, max_steps=steps),
        on_step=lambda step, rate, loss, smoothed: seen.append((step, rate, loss)),
    )
    assert seen == list(zip(range(steps + 1), result.rates, result.losses, strict=True))
    rates = start * (end / start) ** (np.arange(steps + 1) / steps)
    np.testing.assert_allclose(result.rates, rates, rtol=1e-13)
    before = np.concatenate([[0.0], np.cumsum(rates)[:-1]])
    np.testing.assert_allclose(result.losses, 100 - before, rtol=1e-13)
    assert result.stopped == "end"


def in_float16(loss_scale):
    """Find the learning rate of a parameter whose updates subtract the learning rate."""
    return find(
        one_parameter(4.0),
        lambda y_true, y_pred: y_pred,
        tl.sgd,
        (np.zeros(8), np.zeros(8)),
        batch_size=4,
        range_test=RangeTest(start_lr=0.1, end_lr=0.2, max_steps=10),
        precision="mixed_float16",
        loss_scale=loss_scale,
    )


def test_steps_that_the_loss_scale_skips_are_left_out():
    result = in_float16(tl.dynamic_loss_scale(2.0**24))
    rates = 0.1 * 2 ** (np.arange(11) / 10)
    np.testing.assert_allclose(result.rates, rates, rtol=1e-13)
    before = np.concatenate([[0.0], np.cumsum(rates)[:-1]])
    rounding = 2.0**-9  # of float16 between 2 and 4
    np.testing.assert_allclose(result.losses, 4 - before, rtol=0, atol=rounding)


def test_the_test_ends_where_the_loss_scale_cannot_be_reduced():
    with pytest.raises(ValueError, match="^the first loss is nan, before any update"):
        in_float16(tl.dynamic_loss_scale(2.0**24, floor=2.0**24))


@pytest.mark.parametrize("curvature", [0.7, 30.0])
def test_a_parabola_diverges_near_the_stability_limit_of_gradient_descent(curvature):
    result = find(
        one_parameter(3.0),
        lambda y_true, y_pred: curvature * tf.square(y_pred) / 2,
        tl.sgd,
        (np.zeros(4), np.zeros(4)),
        batch_size=4,
        range_test=RangeTest(end_lr=1e3),
    )
    rates = 1e-7 * 1e10 ** (np.arange(STEPS + 1) / STEPS)
    w = 3.0 * np.cumprod(np.concatenate([[1.0], 1 - curvature * rates[:-1]]))
    seen = len(result.losses)
    np.testing.assert_allclose(result.losses, (curvature * w**2 / 2)[:seen], rtol=1e-9, atol=1e-9)
    smooth = weighted_means(curvature * w**2 / 2, 0.9)
    diverged = np.flatnonzero(smooth > 4 * np.minimum.accumulate(smooth))[0]
    assert (result.stopped, seen) == ("diverged", diverged + 1)
    limit = 2 / curvature
    assert limit < result.rates[-1] < 100 * limit
    assert limit / 100 < result.suggestion < limit
    assert limit / 100 < result.steepest < limit


def test_the_model_and_its_optimizer_are_not_changed():
    model = net(dropout=0.5)
    model.compile(keras.optimizers.Adam(), "mse")
    model.optimizer.build(model.trainable_variables)
    everything = [*model.variables, *model.optimizer.variables]
    before = [np.array(v) for v in everything]
    result = find(model, crossentropy, tl.adam, (X, Y), batch_size=5)
    for variable, was in zip(everything, before, strict=True):
        assert np.array(variable).tobytes() == was.tobytes(), variable.path
    again = find(model, crossentropy, tl.adam, (X, Y), batch_size=5)
    np.testing.assert_array_equal(again.losses, result.losses)


@pytest.mark.parametrize("seed", [3, pytest.param(0, marks=pytest.mark.soak)])
def test_batches_updates_and_dropout_are_those_of_training(seed):
    """Two epochs and a part of a third, each with a last batch of 3 examples."""
    optimizer = functools.partial(tl.sgd, momentum=0.5)
    weights = np.random.default_rng(1).uniform(0.5, 2, 23).astype("float32")
    data = (X, Y, weights)
    result = find(
        net(dropout=0.5),
        crossentropy,
        optimizer,
        data,
        batch_size=5,
        range_test=RangeTest(
            start_lr=1e-3, end_lr=1.0, max_steps=12, smoothing=0.0, diverge_factor=1e9
        ),
        seed=seed,
    )
    ramp = exponential_decay(1e-3, 12, 1e3)
    model = net(dropout=0.5)
    trainer = Trainer(model, crossentropy, optimizer(ramp), seed=seed, execution="graph")
    history = trainer.fit(data, batch_size=5, epochs=2)
    assert len(result.losses) == 13
    for epoch, losses in enumerate([result.losses[:5], result.losses[5:10]]):
        order = epoch_order(seed, epoch, 23)
        batches = [weights[order[a : a + 5]].sum() for a in range(0, 23, 5)]
        mean = np.dot(losses, batches) / np.sum(batches)
        assert mean == pytest.approx(history[epoch]["loss"], rel=1e-5)


@pytest.mark.parametrize("execution", soak_except("graph", names=["graph", "xla"]))
def test_the_step_is_traced_once(execution):
    traces = []

    def loss(y_true, y_pred):
        traces.append(1)
        return crossentropy(y_true, y_pred)

    result = lr_finder(net(), loss, tl.adam, (X, Y), batch_size=5, execution=execution)
    assert len(result.losses) > 10
    assert len(traces) == 1


def test_the_penalty_is_in_the_loss():
    model = net()
    bare = find(model, crossentropy, tl.adam, (X, Y), batch_size=23)
    penalized = find(model, crossentropy, tl.adam, (X, Y), batch_size=23, regularizer=tl.l2(0.1))
    squares = sum(float(np.sum(np.square(v))) for v in model.trainable_variables if v.ndim > 1)
    assert penalized.losses[0] - bare.losses[0] == pytest.approx(0.1 * squares, rel=1e-5)
    everywhere = find(
        one_parameter(3.0),
        lambda y_true, y_pred: tf.square(y_pred),
        tl.sgd,
        (np.zeros(4), np.zeros(4)),
        regularizer=tl.l2(1.0),
        regularizer_mask=None,
    )
    assert everywhere.losses[0] == pytest.approx(18.0)


def test_a_chain_has_the_learning_rates_of_its_optimizer():
    def factory(rate):
        return tl.chain(tl.clip_by_norm(1.0), tl.adam(rate))

    result = find(net(), "sparse_categorical_crossentropy", factory, (X, Y), batch_size=8)
    assert result.stopped in ("diverged", "end", "nan")
    assert 1e-5 < result.suggestion < 1


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"execution": "fast"}, ValueError, "unknown execution 'fast'"),
        ({"loss": "mean_sqared_error"}, ValueError, "unknown loss 'mean_sqared_error': did you"),
        ({"optimizer": tl.adam()}, TypeError, "optimizer must be a function of a learning rate"),
        ({"optimizer": lambda rate: rate}, TypeError, "optimizer must be an Optimizer"),
        ({"optimizer": lambda r: tl.accumulate(tl.sgd(r), 2)}, ValueError, "must not accumulate"),
        ({"optimizer": lambda r: tl.sam(tl.sgd(r))}, ValueError, "optimizer must not be tl.sam"),
        ({"data": X}, TypeError, "data must be"),
        (
            {"data": (X, Y[:5])},
            ValueError,
            "data must be arrays of the same length, .* lengths \\[5, ",
        ),
        ({"model": "mlp"}, TypeError, "model must be a Keras model or a FunctionalModel"),
    ],
)
def test_wrong_arguments_are_named_in_the_error(options, kind, message):
    arguments = {
        "model": one_parameter(1.0),
        "loss": lambda y_true, y_pred: y_pred,
        "optimizer": tl.sgd,
        "data": (np.zeros(4), np.zeros(4)),
    }
    with pytest.raises(kind, match=message):
        lr_finder(**(arguments | options))


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.soak)])
def test_the_suggestion_for_a_cnn_with_adam_is_near_one_thousandth(seed, data_dir):
    keras.utils.set_random_seed(seed)
    images = load_dataset("fashion_mnist", data_dir).train
    model = tl.models.cnn((28, 28), 10, None, [keras.layers.Rescaling(1 / 255)])
    result = lr_finder(model, crossentropy, tl.adam, tuple(take(images, 5000)), seed=seed)
    assert 1e-3 / 3 < result.suggestion < 3e-3

"""`lr_finder`: its learning rates, its batches, its end, and that the model is not changed."""

from __future__ import annotations

import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

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
RATES = 1e-7 * 1e8 ** (np.arange(STEPS + 1) / STEPS)
X = RNG.normal(size=(23, 4)).astype("float32")
Y = RNG.integers(0, 3, 23)
crossentropy = functools.partial(tl.losses.sparse_categorical_crossentropy, from_logits=True)


def one_parameter(w):
    """A model that predicts its only parameter for every x."""
    params = {"w": tf.constant(w, tf.float64)}

    def apply_fn(params, model_state, x, training):
        return tl.ModelOutput(params["w"] * tf.ones(tf.shape(x)[:1], tf.float64), model_state)

    return FunctionalModel(apply_fn, params)


def follow(losses, *, seed=0, on_step=None, **options):
    """The range test of a run whose batches have these losses, whatever the learning rate."""
    order = epoch_order(seed, 0, len(losses))
    y = np.empty(len(losses))
    y[order] = losses
    return lr_finder(
        one_parameter(1.0),
        lambda y_true, y_pred: y_true + 0 * y_pred,
        tl.sgd,
        (np.zeros(len(losses)), y),
        batch_size=1,
        seed=seed,
        on_step=on_step,
        range_test=RangeTest(**options),
    )


def valley(*, centre=50, width=4.0, bottom=80, high=10.0, low=1.0):
    """Losses that fall along a logistic curve, and rise again after the bottom."""
    k = np.arange(STEPS + 1)
    falling = low + (high - low) / (1 + np.exp((k - centre) / width))
    return np.where(k <= bottom, falling, falling + (k - bottom) * 0.1)


def weighted_means(losses, s):
    """The means with weights s^(k - j), by their definition."""
    weights = [s ** np.arange(k, -1.0, -1.0) for k in range(len(losses))]
    return np.array([w @ losses[: k + 1] / w.sum() for k, w in enumerate(weights)])


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
    result = lr_finder(
        one_parameter(100.0),
        lambda y_true, y_pred: y_pred,  # its gradient is 1: each update subtracts the learning rate
        tl.sgd,
        (np.zeros(8), np.zeros(8)),
        batch_size=4,
        range_test=RangeTest(start_lr=start, end_lr=end, max_steps=steps),
    )
    rates = start * (end / start) ** (np.arange(steps + 1) / steps)
    np.testing.assert_allclose(result.rates, rates, rtol=1e-13)
    before = np.concatenate([[0.0], np.cumsum(rates)[:-1]])
    np.testing.assert_allclose(result.losses, 100 - before, rtol=1e-13)
    assert result.stopped == "end"


@pytest.mark.parametrize("curvature", [0.7, 30.0])
def test_a_parabola_diverges_near_the_stability_limit_of_gradient_descent(curvature):
    result = lr_finder(
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


@pytest.mark.parametrize("s", [0.0, 0.5, 0.9, 0.99])
def test_smoothed_losses_are_means_with_geometric_weights(s):
    losses = valley() + RNG.normal(scale=0.1, size=STEPS + 1)
    result = follow(losses, smoothing=s)
    np.testing.assert_allclose(result.losses, losses, rtol=1e-15)
    np.testing.assert_allclose(result.smoothed, weighted_means(losses, s), rtol=1e-12)


def steps_of(losses, **options):
    """Number of steps of the test, whether or not it finds a rate."""
    seen = []
    try:
        result = follow(losses, on_step=lambda *step: seen.append(step), **options)
    except ValueError:
        return len(seen), None
    assert len(result.rates) == len(result.losses) == len(result.smoothed) == len(seen)
    return len(seen), result.stopped


@pytest.mark.parametrize("factor", [1.5, 4.0])
def test_the_test_ends_at_the_first_smoothed_loss_above_the_factor_times_the_lowest(factor):
    losses = valley() * np.where(np.arange(STEPS + 1) > 85, 40, 1)
    smooth = weighted_means(losses, 0.9)
    above = np.flatnonzero(smooth > factor * np.minimum.accumulate(smooth))
    assert 85 < above[0] < STEPS
    assert steps_of(losses, diverge_factor=factor) == (above[0] + 1, "diverged")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_ends_the_test(bad):
    losses = valley()
    losses[90] = bad
    result = follow(losses)
    assert (len(result.losses), result.stopped) == (91, "nan")
    np.testing.assert_array_equal(result.losses[-1], bad)
    assert result.tenth_of_minimum == pytest.approx(follow(valley()).tenth_of_minimum)


def test_an_easy_batch_ends_the_test_only_with_best_of_raw():
    losses = valley()
    losses[60] = 0.1
    smooth = weighted_means(losses, 0.9)
    assert smooth[60] > 4 * 0.1
    assert steps_of(losses, best_of="smoothed") == (STEPS + 1, "end")
    assert steps_of(losses, best_of="raw")[0] == 61


def test_negative_losses_diverge_by_their_distance_from_the_lowest():
    losses = valley() - 20  # from -10 down to -19
    assert steps_of(losses) == (STEPS + 1, "end")
    losses[90:] = 1e6
    assert steps_of(losses) == (91, "diverged")


def test_a_loss_of_zero_counts_like_any_other():
    losses = valley()
    losses[70] = 0.0
    result = follow(losses)
    assert len(result.losses) == STEPS + 1
    np.testing.assert_allclose(result.smoothed, weighted_means(losses, 0.9), rtol=1e-12)


def test_without_smoothing_the_three_rates_are_those_of_a_logistic_descent():
    result = follow(valley(), smoothing=0.0)
    assert result.steepest == pytest.approx(RATES[50])  # the centre
    assert result.tenth_of_minimum == pytest.approx(RATES[80] / 10)
    assert result.suggestion == pytest.approx(RATES[52])  # 1 - 1 / (1 + exp(2 / 4)) = 0.62


def test_the_three_rates_follow_their_definitions():
    losses = valley() + RNG.normal(scale=0.5, size=STEPS + 1)
    result = follow(losses)
    smooth, w, h = weighted_means(losses, 0.9), 10, 5
    m = max(range(w, STEPS + 1), key=lambda k: -smooth[k])
    slopes = {k: smooth[k + h] - smooth[k - h] for k in range(w, m - h + 1)}
    assert result.steepest == pytest.approx(RATES[min(slopes, key=slopes.get)])
    assert result.tenth_of_minimum == pytest.approx(RATES[m] / 10)
    goal = smooth[w] - 0.6 * (smooth[w] - smooth[m])
    assert result.suggestion == pytest.approx(
        RATES[next(k for k in range(w, m) if smooth[k] <= goal)]
    )


def test_the_ignored_ends_of_the_curve_change_no_rate():
    plain = follow(valley(), diverge_factor=100)
    lucky = valley()
    lucky[0] = 0.5  # the first smoothed loss is this one alone
    lucky[90:] = 50
    lucky[97:] = 40  # a fast fall after the explosion
    result = follow(lucky, diverge_factor=100)
    assert result.smoothed[0] < result.smoothed[10:].min()
    for name in ("steepest", "tenth_of_minimum"):
        assert getattr(result, name) == getattr(plain, name)
    assert result.suggestion == pytest.approx(plain.suggestion, rel=0.3)


@pytest.mark.parametrize("bottom", [12, 15])
def test_an_early_minimum_has_its_rates_too(bottom):
    result = follow(valley(centre=bottom - 4, width=1.0, bottom=bottom), diverge_factor=100)
    for name in ("steepest", "suggestion"):
        assert RATES[10] <= getattr(result, name) <= 10 * result.tenth_of_minimum


def test_the_model_and_its_optimizer_are_not_changed():
    model = net(dropout=0.5)
    model.compile(keras.optimizers.Adam(), "mse")
    model.optimizer.build(model.trainable_variables)
    everything = [*model.variables, *model.optimizer.variables]
    before = [np.array(v) for v in everything]
    result = lr_finder(model, crossentropy, tl.adam, (X, Y), batch_size=5)
    for variable, was in zip(everything, before, strict=True):
        assert np.array(variable).tobytes() == was.tobytes(), variable.path
    again = lr_finder(model, crossentropy, tl.adam, (X, Y), batch_size=5)
    np.testing.assert_array_equal(again.losses, result.losses)


@pytest.mark.parametrize("seed", [0, 7])
def test_batches_updates_and_dropout_are_those_of_training(seed):
    """Two epochs and a part of a third, each with a last batch of 3 examples."""
    optimizer = functools.partial(tl.sgd, momentum=0.5)
    weights = RNG.uniform(0.5, 2, 23).astype("float32")
    data = (X, Y, weights)
    result = lr_finder(
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
    trainer = Trainer(net(dropout=0.5), crossentropy, optimizer(ramp), seed=seed)
    history = trainer.fit(data, batch_size=5, epochs=2)
    assert len(result.losses) == 13
    for epoch, losses in enumerate([result.losses[:5], result.losses[5:10]]):
        order = epoch_order(seed, epoch, 23)
        batches = [weights[order[a : a + 5]].sum() for a in range(0, 23, 5)]
        mean = np.dot(losses, batches) / np.sum(batches)
        assert mean == pytest.approx(history[epoch]["loss"], rel=1e-5)


@pytest.mark.parametrize("execution", ["graph", "xla"])
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
    bare = lr_finder(model, crossentropy, tl.adam, (X, Y), batch_size=23)
    penalized = lr_finder(
        model, crossentropy, tl.adam, (X, Y), batch_size=23, regularizer=tl.l2(0.1)
    )
    squares = sum(float(np.sum(np.square(v))) for v in model.trainable_variables if v.ndim > 1)
    assert penalized.losses[0] - bare.losses[0] == pytest.approx(0.1 * squares, rel=1e-5)
    everywhere = lr_finder(
        one_parameter(3.0),
        lambda y_true, y_pred: tf.square(y_pred),
        tl.sgd,
        (np.zeros(4), np.zeros(4)),
        regularizer=tl.l2(1.0),
        regularizer_mask=None,
    )
    assert everywhere.losses[0] == pytest.approx(18.0)


def test_on_step_is_called_after_each_step():
    seen = []
    result = follow(valley(), on_step=lambda *step: seen.append(step))
    assert [step for step, *_ in seen] == list(range(STEPS + 1))
    np.testing.assert_array_equal(
        np.array([rest for _, *rest in seen]),
        np.stack([result.rates, result.losses, result.smoothed], axis=1),
    )


def test_a_chain_has_the_learning_rates_of_its_optimizer():
    def factory(rate):
        return tl.chain(tl.clip_by_norm(1.0), tl.adam(rate))

    result = lr_finder(net(), "sparse_categorical_crossentropy", factory, (X, Y), batch_size=8)
    assert result.stopped in ("diverged", "end", "nan")
    assert 1e-5 < result.suggestion < 1


def test_a_loss_that_does_not_fall_raises_an_error():
    noise = 5 + np.random.default_rng(0).normal(size=STEPS + 1)
    with pytest.raises(
        ValueError, match="between learning rates 1e-07 and 10 the loss fell by no more"
    ):
        follow(noise)


@pytest.mark.parametrize(
    ("explosion", "message"),
    [
        (1e9, "the loss diverged at learning rate 4.37e-07, step 8, and had not fallen before"),
        (
            math.nan,
            "the loss was nan at learning rate 4.37e-07, step 8, .*: give a smaller start_lr",
        ),
    ],
)
def test_a_loss_that_diverges_before_it_falls_raises_an_error(explosion, message):
    losses = np.full(STEPS + 1, 3.0)
    losses[8:] = explosion
    with pytest.raises(ValueError, match=message):
        follow(losses)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_first_loss_that_is_not_finite_raises_an_error(bad):
    losses = valley()
    losses[0] = bad
    with pytest.raises(ValueError, match=f"the first loss is {bad}, before any update"):
        follow(losses)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"start_lr": 0.0}, ValueError, "start_lr must be above 0, got 0.0"),
        ({"start_lr": "a"}, TypeError, "start_lr must be a number, got 'a'"),
        ({"end_lr": 1e-7}, ValueError, "end_lr must be above 1e-07, got 1e-07"),
        ({"end_lr": math.inf}, ValueError, "end_lr must be finite and above 1e-07, got inf"),
        ({"max_steps": 9}, ValueError, "max_steps must be at least 10, got 9"),
        ({"max_steps": 20.0}, TypeError, "max_steps must be an integer, got 20.0"),
        ({"smoothing": 1.0}, ValueError, "smoothing must be at least 0 and below 1, got 1.0"),
        ({"diverge_factor": 1}, ValueError, "diverge_factor must be above 1, got 1"),
        ({"best_of": "row"}, ValueError, "unknown best_of 'row': did you mean 'raw'?"),
    ],
)
def test_options_out_of_range_are_named_in_the_error(options, kind, message):
    with pytest.raises(kind, match=message):
        RangeTest(**options)


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


@pytest.mark.parametrize("seed", [0, 1])
def test_the_suggestion_for_a_cnn_with_adam_is_near_one_thousandth(seed, data_dir):
    keras.utils.set_random_seed(seed)
    images = load_dataset("fashion_mnist", data_dir).train
    model = tl.models.cnn((28, 28), 10, None, [keras.layers.Rescaling(1 / 255)])
    result = lr_finder(model, crossentropy, tl.adam, tuple(take(images, 5000)), seed=seed)
    assert 1e-3 / 3 < result.suggestion < 3e-3

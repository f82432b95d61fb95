"""The pure steps: their numbers, and that nothing goes in or out but through the state."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.training.functional_model import functional_from_keras

RUNS = {
    "eager": lambda f: f,
    "graph": tf.function,
    "xla": functools.partial(tf.function, jit_compile=True),
}
WEIGHTS = {
    "no weights": None,
    "weights": np.linspace(0.25, 2, 8),
    "some are 0": np.array([1, 0, 2, 0, 0, 1, 1, 3.0]),
}
PARTS = {
    "uneven": WEIGHTS["some are 0"],
    "one is empty": np.array([0, 0, 0, 0, 1, 2, 0.5, 1]),
    "all are empty": np.zeros(8),
}
X = np.random.default_rng(0).normal(size=(8, 3))
Y = np.random.default_rng(1).normal(size=(8, 2))
KERNEL = np.random.default_rng(2).normal(size=(3, 2))
BIAS = np.array([0.5, -0.25])


def linear(params, model_state, x, training):
    """A model with a penalty and a state of its own: the number of training batches seen."""
    y_pred = x @ params["kernel"] + params["bias"]
    penalty = 0.125 * tf.reduce_sum(params["bias"])
    return tl.ModelOutput(y_pred, {"seen": model_state["seen"] + int(training)}, penalty)


def start(optimizer, dtype="float64"):
    params = {"kernel": tf.constant(KERNEL, dtype), "bias": tf.constant(BIAS, dtype)}
    return tl.init_state(params, {"seen": tf.constant(0)}, optimizer, seed=5)


def batch_of(weight, dtype="float64"):
    arrays = (X, Y) if weight is None else (X, Y, weight)
    return tuple(tf.constant(a, dtype) for a in arrays)


def arrays_of(state):
    return [tf.convert_to_tensor(x).numpy() for x in tf.nest.flatten(state)]


def assert_same_bits(a, b):
    for x, y in zip(arrays_of(a), arrays_of(b), strict=True):
        assert x.tobytes() == y.tobytes()


def example_losses(kernel, bias):
    return np.mean((X @ kernel + bias - Y) ** 2, axis=-1)


def numpy_loss(kernel, bias, w):
    """sum(w l) / sum(w), the model's penalty, and l2 on the kernel."""
    loss = np.sum(w * example_losses(kernel, bias)) / np.sum(w)
    return loss + 0.125 * np.sum(bias) + 0.0625 * np.sum(kernel**2)


def numpy_gradients(kernel, bias, w):
    error = w[:, None] * (X @ kernel + bias - Y) / np.sum(w)
    return X.T @ error + 0.125 * kernel, np.sum(error, axis=0) + 0.125


def l2_on_kernel(params):
    return tl.l2(0.0625)(params["kernel"])


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("training", [True, False])
def test_loss_is_the_weighted_mean_plus_the_penalties(training, weight):
    optimizer = tl.sgd()
    state, batch = start(optimizer), batch_of(weight)
    options = {"regularizer": l2_on_kernel, "metrics": {"mse": tl.losses.mean_squared_error}}
    if training:
        step = tl.train_step(
            tl.StepConfig(linear, tl.losses.mean_squared_error, optimizer, **options)
        )
        records = step(state, batch)[1]
    else:
        records = tl.eval_step(tl.StepConfig(linear, tl.losses.mean_squared_error, **options))(
            state, batch
        )
    w = np.ones(8) if weight is None else weight
    bare = np.sum(w * example_losses(KERNEL, BIAS)) / np.sum(w)
    assert records["loss"].compute().numpy() == pytest.approx(
        numpy_loss(KERNEL, BIAS, w), rel=1e-14
    )
    assert records["mse"].compute().numpy() == pytest.approx(bare, rel=1e-14)
    assert records["loss"].count.numpy() == records["mse"].count.numpy() == np.sum(w)


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("run", RUNS)
def test_steps_are_those_computed_by_hand(run, weight):
    optimizer = tl.sgd(0.125, momentum=0.75)
    step = tl.train_step(
        tl.StepConfig(linear, tl.losses.mean_squared_error, optimizer, regularizer=l2_on_kernel)
    )
    step, state, batch = RUNS[run](step), start(optimizer), batch_of(weight)
    w = np.ones(8) if weight is None else weight
    params, velocity = [KERNEL, BIAS], [0.0, 0.0]
    for count in range(1, 4):
        loss = numpy_loss(*params, w)
        state, records = step(state, batch)
        grads = numpy_gradients(*params, w)
        velocity = [0.75 * v - 0.125 * g for v, g in zip(velocity, grads, strict=True)]
        params = [p + v for p, v in zip(params, velocity, strict=True)]
        np.testing.assert_allclose(state.params["kernel"], params[0], rtol=1e-13)
        np.testing.assert_allclose(state.params["bias"], params[1], rtol=1e-13)
        assert records["loss"].compute().numpy() == pytest.approx(loss, rel=1e-13)
        assert (state.step.numpy(), state.model_state["seen"].numpy()) == (count, count)
        assert state.seed.numpy() == 5


def test_a_batch_of_weight_0_moves_by_the_penalties_alone():
    optimizer = tl.sgd(0.125)
    step = tl.train_step(tl.StepConfig(linear, tl.losses.mean_squared_error, optimizer))
    state, records = step(start(optimizer), batch_of(np.zeros(8)))
    np.testing.assert_array_equal(state.params["kernel"], KERNEL)
    np.testing.assert_array_equal(state.params["bias"], BIAS - 0.125 * 0.125)
    assert records["loss"].compute().numpy() == 0


@pytest.mark.parametrize("weight", [np.ones(8), *PARTS.values()], ids=["even", *PARTS])
@pytest.mark.parametrize("compiled", [False, True])
def test_parts_that_share_their_sums_make_the_step_of_the_whole_batch(weight, compiled):
    optimizer = tl.chain(tl.clip_by_global_norm(0.5), tl.adam(0.1))
    state, batch = start(optimizer), batch_of(weight)
    parts = [tuple(a[rows] for a in batch) for rows in (slice(4), slice(4, 8))]
    shared = []

    def keep(tree):
        shared.append(tree)
        return tree

    def step(reduce):
        return tl.train_step(
            tl.StepConfig(
                linear, tl.losses.mean_squared_error, optimizer, regularizer=l2_on_kernel
            ),
            compile_gradients=compiled,
            reduce=reduce,
        )

    for part in parts:
        step(keep)(state, part)
    sums = tf.nest.map_structure(lambda a, b: a + b, *shared)
    whole, record = step(None)(state, batch)
    ends = [step(lambda _: sums)(state, part) for part in parts]
    for end, _ in ends:
        for expected, got in zip(arrays_of(whole), arrays_of(end), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-15)
    merged = tl.metrics.merge(ends[0][1], ends[1][1])["loss"]
    np.testing.assert_allclose(merged.total, record["loss"].total, rtol=1e-14)
    np.testing.assert_allclose(merged.count, record["loss"].count)


def test_two_parts_of_a_batch_merge_into_the_loss_of_the_whole():
    step = tl.eval_step(
        tl.StepConfig(linear, tl.losses.mean_squared_error, regularizer=l2_on_kernel)
    )
    state = start(tl.sgd())
    parts = [(X[:3], Y[:3]), (X[3:], Y[3:])]
    first, second = (step(state, tuple(map(tf.constant, part)))["loss"] for part in parts)
    whole = numpy_loss(KERNEL, BIAS, np.ones(8))
    assert first.merge(second).compute().numpy() == pytest.approx(whole, rel=1e-14)


@pytest.mark.parametrize("run", RUNS)
def test_metrics_that_are_no_means_record_what_merges(run):
    metrics = {"r2": tl.metrics.r2_score(), "mse": tl.metrics.mean_squared_error}
    optimizer = tl.sgd(0.0)
    step = RUNS[run](
        tl.train_step(
            tl.StepConfig(linear, tl.losses.mean_squared_error, optimizer, metrics=metrics)
        )
    )
    state, weight = start(optimizer), WEIGHTS["some are 0"]
    records = {"loss": tl.Mean.empty(), "mse": tl.Mean.empty(), "r2": metrics["r2"].empty(2)}
    for rows in (slice(0, 3), slice(3, 8)):
        batch = (tf.constant(a[rows]) for a in (X, Y, weight))
        state, new = step(state, tuple(batch))
        records = tl.metrics.merge(records, new)
    y_pred = X @ KERNEL + BIAS
    spread = np.sum(weight[:, None] * (Y - np.average(Y, axis=0, weights=weight)) ** 2, axis=0)
    r2 = np.mean(1 - np.sum(weight[:, None] * (Y - y_pred) ** 2, axis=0) / spread)
    results = tl.metrics.results(metrics, records)
    assert results["r2"].numpy() == pytest.approx(r2, rel=1e-13)
    mse = np.average(example_losses(KERNEL, BIAS), weights=weight)
    assert results["mse"].numpy() == pytest.approx(mse, rel=1e-14)


def keras_model(*layers, features=3, dtype="float32"):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((features,), dtype=dtype), *layers])


def noisy_model(dtype="float32"):
    """All kinds of state: batch statistics, a dropout seed, penalties of layers."""
    return keras_model(
        keras.layers.Dense(4, "tanh", kernel_regularizer=keras.regularizers.L2(0.0625)),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(2),
        dtype=dtype,
    )


@pytest.mark.parametrize("run", RUNS)
def test_the_step_is_pure(run):
    model, optimizer = noisy_model(), tl.adam()
    apply_fn, params, model_state = functional_from_keras(model)
    state, batch = tl.init_state(params, model_state, optimizer), batch_of(None, "float32")
    before = [arrays_of(state), model.get_weights()]
    step = RUNS[run](
        tl.train_step(tl.StepConfig(apply_fn, tl.losses.mean_squared_error, optimizer))
    )
    first, second = step(state, batch), step(state, batch)
    assert_same_bits(first, second)
    assert_same_bits([arrays_of(state), model.get_weights()], before)
    assert all(
        np.any(old.numpy() != new.numpy())
        for group in ("params", "model_state", "opt_state")
        for old, new in zip(
            tf.nest.flatten(getattr(state, group)),
            tf.nest.flatten(getattr(first[0], group)),
            strict=True,
        )
    )


def test_batch_statistics_go_in_and_out_with_the_state():
    model = keras_model(keras.layers.BatchNormalization(momentum=0.75, epsilon=2**-10, name="bn"))
    apply_fn, params, model_state = functional_from_keras(model)
    state = tl.init_state(params, model_state, tl.sgd(0.0))
    step = tl.train_step(tl.StepConfig(apply_fn, tl.losses.mean_squared_error, tl.sgd(0.0)))
    batch = (tf.constant(X, tf.float32), tf.constant(X, tf.float32))
    mean, variance = np.zeros(3), np.ones(3)
    for _ in range(3):
        state, _ = step(state, batch)
        mean = 0.75 * mean + 0.25 * X.mean(axis=0)
        variance = 0.75 * variance + 0.25 * X.var(axis=0)
        names = ("bn/moving_mean", "bn/moving_variance")
        for name, value in zip(names, (mean, variance), strict=True):
            np.testing.assert_allclose(state.model_state[name], value, rtol=1e-6)
    y_pred = tl.predict_step(apply_fn)(state, batch[0])
    np.testing.assert_allclose(y_pred, (X - mean) / np.sqrt(variance + 2**-10), rtol=2e-6)


def masks(steps, state, step, batch):
    """Which of 64 units each step keeps, seen by the weights that move."""
    found = []
    for _ in range(steps):
        new, _ = step(state, batch)
        found.append(
            new.params["dense/kernel"].numpy()[0] != state.params["dense/kernel"].numpy()[0]
        )
        state = new
    return found


def dropout_model(rate=0.5):
    return keras_model(
        keras.layers.Dense(64, use_bias=False, kernel_initializer="ones", name="dense"),
        keras.layers.Dropout(rate),
        features=1,
    )


@pytest.mark.parametrize("run", RUNS)
def test_dropout_masks_follow_from_the_state(run):
    optimizer = tl.sgd(2**-6)
    batch = tf.ones([1, 1]), tf.zeros([1, 64])
    apply_fn, params, model_state = functional_from_keras(dropout_model(), seed=3)
    step = RUNS[run](
        tl.train_step(tl.StepConfig(apply_fn, tl.losses.mean_squared_error, optimizer))
    )
    state = tl.init_state(params, model_state, optimizer)
    first, second = masks(2, state, step, batch)
    assert 16 < first.sum() < 48
    assert np.any(first != second)
    np.testing.assert_array_equal(masks(2, state, step, batch), [first, second])
    other = state._replace(model_state=functional_from_keras(dropout_model(), seed=4).model_state)
    assert np.any(masks(1, other, step, batch)[0] != first)


def test_inference_drops_nothing():
    apply_fn, params, model_state = functional_from_keras(dropout_model())
    state = tl.init_state(params, model_state, tl.sgd())
    np.testing.assert_array_equal(tl.predict_step(apply_fn)(state, tf.ones([2, 1])), 1)
    records = tl.eval_step(tl.StepConfig(apply_fn, tl.losses.mean_squared_error))(
        state, (tf.ones([2, 1]), tf.zeros([2, 64]))
    )
    assert records["loss"].compute().numpy() == 1


def test_penalties_of_keras_layers_are_those_of_the_regularizer():
    optimizer, batch = tl.sgd(0.125), batch_of(None, "float32")
    plain = keras_model(keras.layers.Dense(2, name="dense"))
    own = keras_model(
        keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.0625), name="dense")
    )
    own.set_weights(plain.get_weights())
    ends = []
    for model, regularizer in (
        (own, None),
        (plain, lambda params: tl.l2(0.0625)(params["dense/kernel"])),
        (plain, None),
    ):
        apply_fn, params, model_state = functional_from_keras(model)
        step = tl.train_step(
            tl.StepConfig(
                apply_fn, tl.losses.mean_squared_error, optimizer, regularizer=regularizer
            )
        )
        state, records = step(tl.init_state(params, model_state, optimizer), batch)
        ends.append((state.params["dense/kernel"].numpy(), records["loss"].compute().numpy()))
    (kernel, loss), (same_kernel, same_loss), (bare_kernel, bare_loss) = ends
    np.testing.assert_allclose(kernel, same_kernel, rtol=1e-6)
    assert loss == pytest.approx(same_loss, rel=1e-7)
    shift = 0.0625 * np.sum(plain.get_weights()[0] ** 2)
    assert loss - bare_loss == pytest.approx(shift, abs=2.5e-7)
    assert np.max(np.abs(kernel - bare_kernel)) > 1e-3


def test_a_float64_model_trains_in_float64():
    model = keras_model(
        keras.layers.Dense(
            2, dtype="float64", kernel_regularizer=keras.regularizers.L2(2**-7), name="dense"
        ),
        dtype="float64",
    )
    model.set_weights([KERNEL, BIAS])
    optimizer = tl.sgd(0.125)
    apply_fn, params, model_state = functional_from_keras(model)
    step = tl.train_step(tl.StepConfig(apply_fn, tl.losses.mean_squared_error, optimizer))
    state, _ = step(tl.init_state(params, model_state, optimizer), batch_of(None))
    error = (X @ KERNEL + BIAS - Y) / 8
    expected = {
        "dense/kernel": KERNEL - 0.125 * (X.T @ error + 2**-6 * KERNEL),
        "dense/bias": BIAS - 0.125 * np.sum(error, axis=0),
    }
    for name, value in expected.items():
        assert state.params[name].dtype == tf.float64
        # Keras holds the factor of its regularizer in float32, which 2^-7 fits exactly.
        np.testing.assert_allclose(state.params[name], value, rtol=1e-13)


def test_the_first_state_holds_what_it_was_given():
    state = start(tl.sgd(momentum=0.5))
    assert (state.step.numpy(), state.seed.numpy()) == (0, 5)
    assert state.step.dtype == state.seed.dtype == tf.int64
    assert state.loss_scale == ()
    np.testing.assert_array_equal(state.params["kernel"], KERNEL)
    np.testing.assert_array_equal(state.opt_state.v["kernel"], np.zeros((3, 2)))

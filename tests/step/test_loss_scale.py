"""Loss scales: the path of the scale, and gradients that are kept by it."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS, graph
from helpers.given_gradients import predicted, product, product_batch, product_state
from helpers.trees import bits

import trainlib as tl
from trainlib.step.finite_guard import init_finite_guard, update_finite_guard
from trainlib.training.functional_model import functional_from_keras

SOAK = pytest.mark.soak
BAD = [np.inf, -np.inf, np.nan]


def history(steps, seed):
    """Return whether the gradients of each step are finite: long runs move the scale far."""
    rng = np.random.default_rng(seed)
    runs = ([finite] * rng.geometric(0.1 if finite else 0.5) for finite in itertools.cycle([1, 0]))
    return list(itertools.islice(itertools.chain.from_iterable(runs), steps))


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize(("initial", "floor", "cap"), [(8, 1, 2.0**24), (4, 0.25, 16), (3, 2, 5)])
def test_scale_and_guard_follow_their_equations_step_by_step(execution, initial, floor, cap):
    scaling = tl.dynamic_loss_scale(initial, growth_steps=3, factor=2, floor=floor, cap=cap)

    def advance(state, guard, index):
        exhausted = scaling.is_lowest(state)
        return scaling.update(state, index < 0), update_finite_guard(guard, index, exhausted)

    update = EXECUTIONS[execution](advance)
    state, guard = scaling.init(), init_finite_guard()
    scale, good, skipped, in_a_row = float(initial), 0, 0, 0
    exhausted_at = set()
    for finite in history(120, seed=1):
        exhausted = not finite and scale == floor
        exhausted_at |= {scale} if exhausted else set()
        if finite:
            good, in_a_row = good + 1, 0
            if good == 3:
                scale, good = min(2 * scale, cap), 0
        else:
            scale, good = max(scale / 2, floor), 0
            skipped, in_a_row = skipped + 1, in_a_row + 1
        state, guard = update(state, guard, tf.constant(-1 if finite else 4, tf.int64))
        found = tuple(x.numpy() for x in (*state, *guard))
        assert found == (scale, good, skipped, in_a_row, 4 if skipped else -1, exhausted)
    assert skipped > 10
    assert exhausted_at == {floor}


def test_the_default_scale_begins_at_2_to_the_15_and_doubles_after_2000_steps():
    scaling = tl.dynamic_loss_scale()
    update, fine = graph(scaling.update), tf.constant(True)

    @graph
    def after(steps, state):
        return tf.while_loop(
            lambda k, _: k < steps,
            lambda k, state: (k + 1, scaling.update(state, fine)),
            (0, state),
        )[1]

    state = after(tf.constant(1999), scaling.init())
    assert state.scale.numpy() == 2**15
    assert update(state, fine).scale.numpy() == 2**16
    assert update(state, fine).good_steps.numpy() == 0


def test_a_static_scale_does_not_change():
    scaling = tl.static_loss_scale(1000)
    state, guard = scaling.init(), init_finite_guard()
    for index in (-1, 2, 0, -1):
        lowest = scaling.is_lowest(state)
        guard = update_finite_guard(guard, tf.constant(index, tf.int64), lowest)
        state = scaling.update(state, tf.constant(index < 0))
        assert state.scale.numpy() == 1000
        assert guard.exhausted.numpy() == (index >= 0)
    assert state.good_steps.numpy() == 1
    assert [x.numpy() for x in guard[:-1]] == [2, 0, 0]


OPTIMIZERS = {
    "sgd": (
        lambda: tl.sgd(0.01, momentum=0.9),
        lambda: keras.optimizers.SGD(0.01, momentum=0.9),
    ),
    "adam": (
        lambda: tl.adam(tl.exponential_decay(0.01, 10, 0.5)),
        lambda: keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.5)),
    ),
    "clipped": (
        lambda: tl.chain(tl.clip_by_global_norm(0.5), tl.adam(0.01)),
        lambda: keras.optimizers.Adam(0.01, global_clipnorm=0.5),
    ),
}


@pytest.mark.parametrize(
    "name", [pytest.param("sgd", marks=SOAK), pytest.param("adam", marks=SOAK), "clipped"]
)
def test_scales_equal_those_of_keras_and_parameters_agree_to_rounding(name):
    ours, peers = (make() for make in OPTIMIZERS[name])
    scaling = tl.dynamic_loss_scale(2.0**12, growth_steps=6, floor=2.0**-60, cap=2.0**60)
    peer = keras.optimizers.LossScaleOptimizer(peers, initial_scale=2.0**12, dynamic_growth_steps=6)
    step = tf.function(
        tl.train_step(tl.StepConfig(product, predicted, ours, loss_scale=scaling)), autograph=False
    )
    state, rng = product_state(ours, scaling), np.random.default_rng(0)
    weights = [keras.Variable(w) for w in state.params]
    peer.build(weights)

    @graph
    def apply(grads):
        peer.apply([g * peer.dynamic_scale.value for g in grads], weights)

    scales = set()
    for i, finite in enumerate(history(400, seed=0)):
        grads = [rng.normal(size=w.shape).astype("float32") for w in weights]
        if not finite:
            grads[i % 2].flat[0] = BAD[i % 3]
        apply([tf.constant(g) for g in grads])
        state, _ = step(state, product_batch(*grads))
        assert state.loss_scale.scale.numpy() == peer.dynamic_scale.numpy()
        assert state.loss_scale.good_steps.numpy() == peer.step_counter.numpy()
        assert state.step.numpy() == peer.iterations.numpy()
        for w, v in zip(state.params, weights, strict=True):
            np.testing.assert_allclose(w, v, rtol=2e-5, atol=1e-6)
        scales.add(float(state.loss_scale.scale))
    assert len(scales) > 10
    assert state.finite_guard.skipped.numpy() == 400 - state.step.numpy() > 40


def small_model():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(4, "tanh"), keras.layers.BatchNormalization()]
    layers += [keras.layers.Dropout(0.5), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((3,)), *layers])


@pytest.mark.parametrize("execution", ["eager", "graph"])  # XLA rounds fused operations otherwise
def test_a_scale_of_a_power_of_two_changes_no_bit_of_a_finite_run(execution):
    apply_fn, params, model_state = functional_from_keras(small_model())
    rng, optimizer, ends = np.random.default_rng(0), tl.adam(0.01), []
    batches = [
        tuple(tf.constant(rng.normal(size=(8, k)), tf.float32) for k in (3, 2)) for _ in range(6)
    ]
    for scaling in (None, tl.dynamic_loss_scale(growth_steps=4), tl.static_loss_scale(1024.0)):
        step = EXECUTIONS[execution](
            tl.train_step(
                tl.StepConfig(apply_fn, tl.losses.mean_squared_error, optimizer, loss_scale=scaling)
            )
        )
        state = tl.init_state(params, model_state, optimizer, loss_scale=scaling)
        for batch in batches:
            state, records = step(state, batch)
        ends.append(bits([state._replace(loss_scale=(), finite_guard=()), records]))
    assert ends[0] == ends[1] == ends[2]


def test_a_step_that_overflows_is_left_out_of_the_metrics():
    def model(params, model_state, x, training):
        return tl.ModelOutput(tf.cast(x * params, tf.float32))

    scaling, absolute = tl.dynamic_loss_scale(2.0**24), tl.losses.mean_absolute_error
    config = tl.StepConfig(
        model, predicted, tl.sgd(0.0), metrics={"mae": absolute}, loss_scale=scaling
    )
    state = tl.init_state(tf.constant(1.0), (), config.optimizer, loss_scale=scaling)
    counts = []
    for x in (2.0**105, 1.0):  # the product of the first and the scale is infinite
        state, metrics = tl.train_step(config)(state, (tf.constant([[x]]), tf.zeros([1, 1])))
        counts.append([float(metrics[name].count) for name in ("loss", "mae")])
    assert counts == [[0, 0], [1, 1]]
    assert int(state.step) == 1


def test_gradients_are_unscaled_where_they_do_not_underflow():
    state = tl.static_loss_scale(2.0**15).init()
    small = 2.0**-30
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        scaled = tf.constant(small * 2**15, dtype)
        g, none = tl.unscale_grads([scaled, None], state)
        assert g.numpy() == small
        assert none is None
        assert g.dtype == ("float64" if dtype == "float64" else "float32")
    rows = tf.IndexedSlices(tf.constant([[2.0**15], [2.0**16]]), tf.constant([1, 1]), [3, 1])
    unscaled = tf.convert_to_tensor(tl.unscale_grads(rows, state))
    np.testing.assert_array_equal(unscaled, [[0], [3], [0]])


def test_a_float16_loss_is_scaled_in_float32():
    scaled = tl.scale_loss(tf.constant(8.0, tf.float16), tl.static_loss_scale(2.0**15).init())
    assert scaled.dtype == tf.float32
    assert scaled.numpy() == 2.0**18


def test_small_float16_gradients_are_lost_without_a_scale_and_kept_with_one():
    def half(params, model_state, x, training):
        hidden = tf.cast(params * x, tf.float16)
        return tl.ModelOutput(tf.cast(hidden, tf.float32)[:, None] * 1e-9)

    batch = tf.constant([1.0]), tf.constant([[-1.0]])
    moved = {}
    for name, scaling in {"none": None, "scaled": tl.dynamic_loss_scale()}.items():
        optimizer = tl.sgd(1e6)
        step = tl.train_step(tl.StepConfig(half, predicted, optimizer, loss_scale=scaling))
        state = tl.init_state(tf.constant(1.0), (), optimizer, loss_scale=scaling)
        moved[name] = 1.0 - step(state, batch)[0].params.numpy()
    assert moved["none"] == 0
    assert moved["scaled"] == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"initial": 0.5}, "initial must be at least 1 and at most 1.67772e.07, got 0.5"),
        ({"initial": 2.0**25}, "initial must be at least 1 and at most"),
        ({"initial": float("inf")}, "initial must be finite"),
        ({"growth_steps": 0}, "growth_steps must be at least 1, got 0"),
        ({"factor": 1.0}, "factor must be above 1, got 1.0"),
        ({"floor": 0.0}, "floor must be above 0, got 0.0"),
        ({"floor": 4.0, "cap": 2.0}, "cap must be at least 4, got 2.0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        tl.dynamic_loss_scale(**arguments)


def test_a_static_scale_is_above_0():
    with pytest.raises(ValueError, match="^scale must be above 0, got 0"):
        tl.static_loss_scale(0)

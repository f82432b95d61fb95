"""Loss scaling: the scale's path, and that a skipped step changes nothing but the scale."""

from __future__ import annotations

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.step.finite_guard import init_finite_guard, update_finite_guard
from trainlib.training.functional_model import functional_from_keras

SOAK = pytest.mark.soak
RUNS = {
    "eager": lambda f: f,
    "graph": functools.partial(tf.function, autograph=False),
    "xla": functools.partial(tf.function, jit_compile=True, autograph=False),
}
BAD = [np.inf, -np.inf, np.nan]


def bits(tree):
    return [tf.convert_to_tensor(x).numpy().tobytes() for x in tf.nest.flatten(tree)]


def history(steps, seed):
    """Whether each step's gradients are finite, in runs: the scale goes far both ways."""
    rng = np.random.default_rng(seed)
    runs = ([finite] * rng.geometric(0.1 if finite else 0.5) for finite in itertools.cycle([1, 0]))
    return list(itertools.islice(itertools.chain.from_iterable(runs), steps))


def product(params, model_state, x, training):
    """A model whose loss has the batch for its gradient."""
    total = tf.add_n([tf.reduce_sum(w * g) for w, g in zip(params, x, strict=True)])
    return tl.ModelOutput(tf.reshape(total, [1, 1]), model_state + 1)


def predicted(y_true, y_pred):
    return y_pred[:, 0]


def start(optimizer, loss_scale, dtype="float32"):
    params = [tf.constant([1.0, -2.0], dtype), tf.constant([[0.5]], dtype)]
    return tl.init_state(params, tf.constant(0), optimizer, loss_scale=loss_scale)


def batch_of(*grads, dtype="float32"):
    return [tf.constant(g, dtype) for g in grads], tf.zeros([1], dtype)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(("initial", "floor", "cap"), [(8, 1, 2.0**24), (4, 0.25, 16), (3, 2, 5)])
def test_the_scale_follows_its_rule_step_by_step(run, initial, floor, cap):
    scaling = tl.dynamic_loss_scale(initial, growth_steps=3, factor=2, floor=floor, cap=cap)

    def advance(state, guard, index):
        exhausted = scaling.is_lowest(state)
        return scaling.update(state, index < 0), update_finite_guard(guard, index, exhausted)

    update = RUNS[run](advance)
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
    update = tf.function(scaling.update, autograph=False)
    state, fine = scaling.init(), tf.constant(True)
    for _ in range(1999):
        state = update(state, fine)
    assert state.scale.numpy() == 2**15
    assert update(state, fine).scale.numpy() == 2**16
    assert update(state, fine).good_steps.numpy() == 0


def test_a_static_scale_stays_and_counts_what_is_skipped():
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
def test_scales_are_kerass_and_parameters_too_to_rounding(name):
    ours, peers = (make() for make in OPTIMIZERS[name])
    scaling = tl.dynamic_loss_scale(2.0**12, growth_steps=6, floor=2.0**-60, cap=2.0**60)
    peer = keras.optimizers.LossScaleOptimizer(peers, initial_scale=2.0**12, dynamic_growth_steps=6)
    step = tf.function(
        tl.train_step(tl.StepConfig(product, predicted, ours, loss_scale=scaling)), autograph=False
    )
    state, rng = start(ours, scaling), np.random.default_rng(0)
    weights = [keras.Variable(w) for w in state.params]
    peer.build(weights)
    scales = set()
    for i, finite in enumerate(history(400, seed=0)):
        grads = [rng.normal(size=w.shape).astype("float32") for w in weights]
        if not finite:
            grads[i % 2].flat[0] = BAD[i % 3]
        peer.apply([tf.constant(g) * peer.dynamic_scale.value for g in grads], weights)
        state, _ = step(state, batch_of(*grads))
        assert state.loss_scale.scale.numpy() == peer.dynamic_scale.numpy()
        assert state.loss_scale.good_steps.numpy() == peer.step_counter.numpy()
        assert state.step.numpy() == peer.iterations.numpy()
        for w, v in zip(state.params, weights, strict=True):
            np.testing.assert_allclose(w, v, rtol=2e-5, atol=1e-6)
        scales.add(float(state.loss_scale.scale))
    assert len(scales) > 10
    assert state.finite_guard.skipped.numpy() == 400 - state.step.numpy() > 40


def noisy_model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, "tanh", name="first"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(2, name="last"),
        ]
    )


@pytest.mark.parametrize(
    ("run", "compile_update"),
    [
        *((run, False) for run in RUNS),
        *(pytest.param(run, True, marks=[] if run == "graph" else SOAK) for run in RUNS),
    ],
)
def test_a_skipped_step_changes_no_bit_but_those_of_the_scale(run, compile_update):
    optimizer = tl.chain(tl.clip_by_global_norm(1.0), tl.adamw(tl.exponential_decay(0.1, 1, 0.5)))
    scaling = tl.dynamic_loss_scale(2.0**127, growth_steps=2, cap=2.0**127)
    apply_fn, params, model_state = functional_from_keras(noisy_model())
    step = RUNS[run](
        tl.train_step(
            tl.StepConfig(apply_fn, tl.losses.mean_squared_error, optimizer, loss_scale=scaling),
            compile_update=compile_update,
        )
    )
    state = tl.init_state(params, model_state, optimizer, loss_scale=scaling)
    rng = np.random.default_rng(0)
    batch = [tf.constant(rng.normal(size=(8, k)) * 100, tf.float32) for k in (3, 2)]
    new, _ = step(state, tuple(batch))  # the scaled loss is above the greatest float32
    assert new.loss_scale.scale.numpy() == 2.0**126
    assert new.finite_guard.skipped.numpy() == new.finite_guard.skipped_in_a_row.numpy() == 1
    assert bits(new._replace(loss_scale=(), finite_guard=())) == bits(
        state._replace(loss_scale=(), finite_guard=())
    )
    while new.step.numpy() == 0:
        new, _ = step(new, tuple(batch))
    assert new.finite_guard.skipped.numpy() > 1
    assert new.finite_guard.skipped_in_a_row.numpy() == 0
    groups = zip(new[1:4], state[1:4], strict=True)
    assert all(a != b for pair in groups for a, b in zip(*map(bits, pair), strict=True))


@pytest.mark.parametrize("run", ["eager", "graph"])  # XLA rounds fused operations otherwise
def test_a_scale_of_a_power_of_two_changes_no_bit_of_a_finite_run(run):
    apply_fn, params, model_state = functional_from_keras(noisy_model())
    rng, optimizer, ends = np.random.default_rng(0), tl.adam(0.01), []
    batches = [
        tuple(tf.constant(rng.normal(size=(8, k)), tf.float32) for k in (3, 2)) for _ in range(9)
    ]
    for scaling in (None, tl.dynamic_loss_scale(growth_steps=4), tl.static_loss_scale(1024.0)):
        step = RUNS[run](
            tl.train_step(
                tl.StepConfig(apply_fn, tl.losses.mean_squared_error, optimizer, loss_scale=scaling)
            )
        )
        state = tl.init_state(params, model_state, optimizer, loss_scale=scaling)
        for batch in batches:
            state, records = step(state, batch)
        ends.append(bits([state._replace(loss_scale=(), finite_guard=()), records]))
    assert ends[0] == ends[1] == ends[2]


@pytest.mark.parametrize("bad", BAD)
def test_the_first_tensor_that_overflowed_is_told_with_its_path(bad):
    params = {
        "b": {"kernel": tf.ones([2, 2]), "bias": tf.ones([2])},
        "a": [tf.ones([]), tf.ones(3)],
    }
    grads = tf.nest.map_structure(tf.identity, params)
    assert tl.first_nonfinite(grads).numpy() == -1
    assert tl.nonfinite_path(init_finite_guard(), params) is None
    grads["b"]["kernel"] = tf.constant([[1.0, 2.0], [bad, 3.0]])
    grads["a"][1] = None
    for name, expected in (("kernel", "b/kernel"), ("bias", "b/bias")):
        grads["b"][name] = tf.constant([[bad, 1.0]] * 2)
        index = tl.first_nonfinite(grads)
        assert index.dtype == tf.int64
        state = update_finite_guard(init_finite_guard(), index)
        assert tl.nonfinite_path(state, params) == expected
        later = update_finite_guard(state, tf.constant(-1, tf.int64))
        assert tl.nonfinite_path(later, params) == expected


@pytest.mark.parametrize("grads", [[], [None, None]])
def test_no_gradients_are_finite(grads):
    assert tl.first_nonfinite(grads).numpy() == -1


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
    np.testing.assert_array_equal(tl.unscale_grads(rows, state), [[0], [3], [0]])


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


def window_step(optimizer, scaling):
    return tf.function(
        tl.train_step(tl.StepConfig(product, predicted, optimizer, loss_scale=scaling)),
        autograph=False,
    )


@pytest.mark.parametrize("place", range(3))
def test_a_micro_batch_that_is_not_finite_is_left_out_of_its_window(place):
    """Of weights 1, 2 and 3, and one more that is not finite, the first three make the update."""
    optimizer = tl.accumulate(tl.adam(0.1), every_k=3)
    scaling = tl.dynamic_loss_scale(growth_steps=2)
    rng = np.random.default_rng(0)
    batches = [
        (*batch_of(rng.normal(size=2), rng.normal(size=(1, 1))), tf.constant([float(w)]))
        for w in (1, 2, 3)
    ]
    bad = (*batch_of([1.0, np.nan], [[1.0]]), tf.constant([5.0]))
    step, no = window_step(optimizer, scaling), tf.constant(False)
    expected = start(optimizer, scaling)
    for batch in batches:
        expected, _ = step(expected, batch, no)
    state = start(optimizer, scaling)
    for i, batch in enumerate(batches):
        if i == place:
            before = state
            state, _ = step(state, bad, no)
            assert bits(state._replace(loss_scale=(), finite_guard=())) == bits(
                before._replace(loss_scale=(), finite_guard=())
            )
        state, _ = step(state, batch, no)
    assert state.opt_state.step.numpy() == 1
    assert state.finite_guard.skipped.numpy() == 1
    for a, b in zip(*map(tf.nest.flatten, (state[:-3], expected[:-3])), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_last_micro_batch_that_is_not_finite_closes_its_window_without_it():
    optimizer, scaling = tl.accumulate(tl.adam(0.1), every_k=4), tl.dynamic_loss_scale()
    step, yes, no = window_step(optimizer, scaling), tf.constant(True), tf.constant(False)
    first, second = batch_of([1.0, 2.0], [[3.0]]), batch_of([-3.0, 1.0], [[0.5]])
    bad = batch_of([np.inf, 0.0], [[1.0]])
    expected = start(optimizer, scaling)
    expected, _ = step(expected, first, no)
    open_window, _ = step(expected, bad, no)
    expected, _ = step(expected, second, yes)
    state = start(optimizer, scaling)
    for batch, last in ((first, no), (second, no), (bad, yes)):
        state, _ = step(state, batch, last)
    assert bits([state.params, state.opt_state]) == bits([expected.params, expected.opt_state])
    assert state.step.numpy() == state.model_state.numpy() == 2
    assert open_window.opt_state.micro_step.numpy() == 1
    alone = start(optimizer, scaling)
    closed, _ = step(alone, bad, yes)
    assert bits(closed._replace(loss_scale=(), finite_guard=())) == bits(
        alone._replace(loss_scale=(), finite_guard=())
    )


def test_last_says_nothing_to_other_optimizers():
    optimizer, scaling = tl.adam(0.1), tl.dynamic_loss_scale()
    step, state = window_step(optimizer, scaling), start(optimizer, scaling)
    new, _ = step(state, batch_of([np.inf, 0.0], [[1.0]]), tf.constant(True))
    assert bits(new._replace(loss_scale=(), finite_guard=())) == bits(
        state._replace(loss_scale=(), finite_guard=())
    )


def test_step_and_state_must_both_scale_or_neither():
    optimizer, scaling = tl.sgd(), tl.dynamic_loss_scale()
    for of_step, of_state in ((scaling, None), (None, scaling)):
        step = tl.train_step(tl.StepConfig(product, predicted, optimizer, loss_scale=of_step))
        with pytest.raises(
            ValueError,
            match="loss_scale and finite_guard must be given to init_state and StepConfig",
        ):
            step(start(optimizer, of_state), batch_of([1.0, 1.0], [[1.0]]))


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


@pytest.mark.parametrize("value", [1024.0, "dynamic", tl.dynamic_loss_scale])
def test_what_is_no_loss_scaling_is_refused(value):
    with pytest.raises(TypeError, match="^loss_scale must be None or a LossScale such as"):
        start(tl.sgd(), value)
    with pytest.raises(TypeError, match="^loss_scale must be None or a LossScale such as"):
        tl.train_step(tl.StepConfig(product, predicted, tl.sgd(), loss_scale=value))

"""`inject_hyperparams` and `set_hyperparams`."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.core.hyperparameters import declared
from trainlib.registry import CLIPPING, OPTIMIZERS, hyperparameters
from trainlib.transforms.inject import held_hyperparams, with_hyperparams_of
from trainlib.verify.compare import difference
from trainlib.verify.trajectory import run_optimizer

B1, B2 = 0.875, 1 - 2.0**-10
"""Decay rates that are exact in float32, to which Optax rounds them."""

PARAMS = {"w": tf.constant([1.0, 2.0]), "b": tf.constant(0.5)}
GRADS = {"w": tf.constant([0.5, -0.25]), "b": tf.constant(1.0)}


@pytest.mark.parametrize(
    ("convention", "run"),
    [
        ("keras", "eager"),
        ("torch", "graph"),
        *(
            pytest.param(convention, run, marks=pytest.mark.soak)
            for convention, runs in (("keras", ("graph", "xla")), ("torch", ("eager", "xla")))
            for run in runs
        ),
    ],
)
def test_injected_optimizers_compute_what_plain_ones_do(problem, convention, run):
    options = {"beta_1": 0.8, "weight_decay": 0.1, "convention": convention}
    plain = run_optimizer(lambda learning_rate: tl.adamw(learning_rate, **options), problem, run)
    injected = run_optimizer(
        lambda learning_rate: tl.inject_hyperparams(tl.adamw)(learning_rate, **options),
        problem,
        run,
    )
    assert difference(injected, plain).error < 1e-14


def test_it_agrees_with_optax(problem, run_optax):
    ours = run_optimizer(
        lambda learning_rate: tl.inject_hyperparams(tl.adam)(
            lambda k: 0.01 / (1 + tf.cast(k, tf.float64)), B1, B2, convention="optax"
        ),
        problem,
    )
    theirs = run_optax(
        lambda optax: optax.inject_hyperparams(optax.adam)(
            learning_rate=lambda k: 0.01 / (1 + k.astype("float64")), b1=B1, b2=B2
        ),
        problem,
    )
    assert difference(ours, theirs).error < 1e-12


def test_hyperparameters_given_as_numbers_are_held_in_the_state():
    tx = tl.inject_hyperparams(tl.adamw)(
        beta_1=0.8, weight_decay=0, amsgrad=True, decay_mask=lambda path: path == "w"
    )
    state = tx.init(PARAMS)
    assert {k: (float(x), x.dtype) for k, x in state.hyperparams.items()} == {
        "learning_rate": (0.001, tf.float64),
        "beta_1": (0.8, tf.float64),
        "weight_decay": (0.0, tf.float64),
    }
    assert state.inner.v_max


def test_the_default_learning_rate_is_that_of_the_convention():
    for convention in ("keras", "torch"):
        state = tl.inject_hyperparams(tl.adagrad)(convention=convention).init(PARAMS)
        expected = tl.adagrad.conventions[convention]["learning_rate"]
        assert float(state.hyperparams["learning_rate"]) == expected


def test_a_partial_function_keeps_the_defaults_that_it_was_made_with():
    held = tl.inject_hyperparams(functools.partial(tl.sgd, convention="torch"))().init(PARAMS)
    assert float(held.hyperparams["learning_rate"]) == 0.001
    made = functools.partial(tl.sgd, learning_rate=0.5, momentum=0.5)
    tx = tl.inject_hyperparams(made)(momentum=lambda k: 1.0)  # 1 is in sgd's range
    held = tx.init(PARAMS).hyperparams
    assert {name: float(x) for name, x in held.items()} == {"learning_rate": 0.5, "momentum": 1.0}


def test_schedules_are_recorded_as_they_were_used():
    tx = tl.inject_hyperparams(tl.sgd)(lambda k: 1 / tf.cast(k + 1, tf.float64), momentum=0.5)
    state, rates = tx.init(PARAMS), []
    for _ in range(3):
        _, state = tx.update(GRADS, state, PARAMS)
        rates.append(float(state.hyperparams["learning_rate"]))
    assert rates == [1, 1 / 2, 1 / 3] and state.step == 3
    assert float(state.hyperparams["momentum"]) == 0.5


@pytest.mark.parametrize("jit", [False, True])
def test_changing_a_hyperparameter_retraces_nothing(jit):
    tx = tl.chain(tl.clip_by_norm(9.0), tl.inject_hyperparams(tl.sgd)(0.1, momentum=0.5))
    traces = []

    @functools.partial(tf.function, jit_compile=jit, autograph=False)
    def update(grads, state, params):
        traces.append(1)
        return tx.update(grads, state, params)

    state = tx.init(PARAMS)
    for rate in (0.1, 0.2, 0.4):
        state = tl.set_hyperparams(state, learning_rate=rate, momentum=0.0)
        updates, state = update(GRADS, state, PARAMS)
        np.testing.assert_allclose(updates["w"], -rate * GRADS["w"], rtol=1e-6)
    state = (
        state[0],
        state[1]._replace(
            hyperparams=dict(state[1].hyperparams, learning_rate=tf.constant(0.5, tf.float64))
        ),
    )
    updates, _ = update(GRADS, state, PARAMS)
    np.testing.assert_allclose(updates["w"], -0.5 * GRADS["w"], rtol=1e-6)
    assert len(traces) == 1


def test_setting_an_unknown_hyperparameter_is_refused():
    state = tl.chain(tl.inject_hyperparams(tl.adam)(0.1), tl.scale(1.0)).init(PARAMS)
    with pytest.raises(ValueError, match="'learning_rte': did you mean 'learning_rate'"):
        tl.set_hyperparams(state, learning_rte=0.1)
    with pytest.raises(ValueError, match="unknown hyperparameter of this state 'beta_1'"):
        tl.set_hyperparams(state, beta_1=0.1)
    with pytest.raises(TypeError, match="learning_rate must be a number"):
        tl.set_hyperparams(state, learning_rate="0.1")


def test_setting_reaches_every_group():
    group = tl.inject_hyperparams(tl.sgd)(0.1)
    tx = tl.apply_if_finite(tl.partition({"w": group, "b": group}, lambda path: path))
    state = tl.set_hyperparams(tx.init(PARAMS), learning_rate=1.0)
    updates, _ = tx.update(GRADS, state, PARAMS)
    tf.nest.map_structure(lambda u, g: np.testing.assert_array_equal(u, -g), updates, GRADS)


def test_setting_reaches_an_optimizer_within_another():
    def scaled(factor):
        return tl.chain(tl.inject_hyperparams(tl.sgd)(0.1), tl.scale(factor))

    tx = tl.inject_hyperparams(scaled)(factor=2.0)
    first = tx.init(PARAMS)
    state = tl.set_hyperparams(first, learning_rate=1.0, factor=4.0)
    tf.nest.assert_same_structure(state, first)
    updates, _ = tx.update(GRADS, state, PARAMS)
    tf.nest.map_structure(lambda u, g: np.testing.assert_array_equal(u, -4 * g), updates, GRADS)
    assert held_hyperparams(state) == {"learning_rate": [1.0], "factor": [4.0]}
    assert held_hyperparams(with_hyperparams_of(first, state)) == held_hyperparams(state)


def test_arguments_are_checked_when_they_are_given():
    with pytest.raises(ValueError, match="beta_1 must be at least 0 and below 1, got 2"):
        tl.inject_hyperparams(tl.adam)(beta_1=2.0)
    with pytest.raises(ValueError, match="unknown convention of adam 'kears'"):
        tl.inject_hyperparams(tl.adam)(convention="kears")
    with pytest.raises(TypeError, match="unexpected keyword"):
        tl.inject_hyperparams(tl.adam)(beta1=0.9)


def test_undeclared_parameters_are_held_by_the_type_of_their_arguments():
    def descent(rate, times: int = 2, power=1, name="descent", reverse=False, offset=None):
        return tl.chain(*[tl.scale(-1.0)] * (times - 1), tl.scale(rate))

    options = {"times": 2, "power": np.float32(1.0), "name": "mine", "reverse": True}
    tx = tl.inject_hyperparams(descent)(0.5, offset=tf.constant(1), **options)
    state = tx.init(PARAMS)
    assert list(state.hyperparams) == ["rate", "power"]
    updates, _ = tx.update(GRADS, state, PARAMS)
    np.testing.assert_array_equal(updates["b"], -0.5)


def test_a_function_given_for_an_undeclared_parameter_is_a_schedule():
    def descent(rate):
        return tl.sgd(rate)

    tx = tl.inject_hyperparams(descent)(lambda step: 1.0 + tf.cast(step, tf.float64))
    state = tx.init(PARAMS)
    for expected in (-1.0, -2.0):
        updates, state = tx.update(GRADS, state, PARAMS)
        np.testing.assert_array_equal(updates["b"], expected)


def test_parameters_of_a_declared_name_follow_the_declaration():
    def descent(learning_rate=1, decay_mask=None, ns_steps=2.0, weight_decay=0.0):
        assert callable(decay_mask)
        return tl.scale(-learning_rate)

    tx = tl.inject_hyperparams(descent)(decay_mask=lambda path: True, ns_steps=3.0, weight_decay=1)
    state = tx.init(PARAMS)
    assert {name: float(x) for name, x in state.hyperparams.items()} == {
        "learning_rate": 1.0,
        "weight_decay": 1.0,
    }


def test_transforms_are_injected_like_optimizers():
    tx = tl.inject_hyperparams(tl.clip_by_value)(clipvalue=0.1)
    state = tl.set_hyperparams(tx.init(PARAMS), clipvalue=0.25)
    updates, _ = tx.update(GRADS, state, PARAMS)
    np.testing.assert_array_equal(updates["b"], 0.25)


def nudged(declaration, default):
    """Two numbers in the range of a hyperparameter near its default."""
    numbers = [f * default for f in (1.0, 0.95, 0.9, 1.1)] + [0.25, 0.5]
    return [x for x in dict.fromkeys(numbers) if x in declaration.range and x != 0][:2]


def floats_of(kind, name, factory):
    """The float hyperparameters of a factory, each with two values."""
    found = {}
    for h in hyperparameters(factory).values():
        if h.type == "float":
            default = h.default if isinstance(h.default, (int, float)) else 0.5
            found[h.name] = nudged(declared(kind, name, h.name), default)
    return found


FACTORIES = [
    *(("optimizer", name, factory) for name, factory in OPTIMIZERS.items()),
    *(("clipping", name, factory) for name, factory in CLIPPING.items()),
    ("transform", "ema", tl.ema),
    ("transform", "scale", tl.scale),
    ("transform", "add_decayed_weights", tl.add_decayed_weights),
    ("transform", "add_noise", functools.partial(tl.add_noise, seed=3)),
    ("transform", "lookahead", functools.partial(tl.lookahead, tl.sgd(0.5))),
    ("transform", "sam", functools.partial(tl.sam, tl.sgd(0.5), rho=0.05)),
]


@pytest.mark.parametrize(("kind", "name", "factory"), FACTORIES, ids=[f[1] for f in FACTORIES])
def test_an_update_is_that_of_the_optimizer_with_the_numbers_of_its_step(kind, name, factory):
    values = floats_of(kind, name, getattr(factory, "func", factory))
    assert values and all(len(pair) == 2 for pair in values.values())
    schedules = {
        k: functools.partial(tf.gather, tf.constant(pair, tf.float64)) for k, pair in values.items()
    }
    tx = tl.inject_hyperparams(factory)(**schedules)
    params = {"w": tf.constant([[1.0, -2.0], [0.5, 3.0]]), "b": tf.constant([0.5, 0.25])}
    grads = {"w": tf.constant([[0.5, -0.25], [2.0, 1.0]]), "b": tf.constant([-1.0, 0.5])}
    state = tx.init(params)
    for step in range(2):
        now = {k: pair[step] for k, pair in values.items()}
        plain = factory(**now)
        if not step:
            tf.nest.map_structure(np.testing.assert_array_equal, plain.init(params), state.inner)
        expected, inner = plain.update(grads, state.inner, params)
        updates, state = tx.update(grads, state, params)
        close = functools.partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-7)
        tf.nest.map_structure(close, updates, expected)
        tf.nest.map_structure(close, state.inner, inner)
        assert {k: float(x) for k, x in state.hyperparams.items()} == pytest.approx(now)
        params = tl.apply_updates(params, updates)


def test_a_scheduled_momentum_is_that_of_pytorchs_cycled_momentum_by_hand():
    """v = mu_k v - eta g and w = w + v, with mu from a schedule of the step."""
    momenta, g, v, w = [0.5, 0.25, 0.75], 1.0, 0.0, 2.0
    tx = tl.inject_hyperparams(tl.sgd)(0.5, momentum=lambda k: tf.gather(momenta, k))
    params = tf.constant(2.0, tf.float64)
    state = tx.init(params)
    for mu in momenta:
        v = mu * v - 0.5 * g
        w = w + v
        updates, state = tx.update(tf.constant(g, tf.float64), state, params)
        params = tl.apply_updates(params, updates)
        assert float(params) == pytest.approx(w, rel=1e-15)


def test_every_kind_of_schedule_is_taken():
    registered = tl.polynomial_decay(0.5, 4, end_learning_rate=0.9)
    of_keras = keras.optimizers.schedules.PolynomialDecay(0.5, 4, 0.9)
    for schedule in (registered, of_keras, lambda k: 0.5, functools.partial(tf.gather, [0.5])):
        tx = tl.inject_hyperparams(tl.sgd)(0.1, momentum=schedule)
        assert float(tx.init(PARAMS).hyperparams["momentum"]) == 0.5


@pytest.mark.parametrize(
    ("factory", "options", "message"),
    [
        (tl.sgd, {"nesterov": lambda k: True}, "nesterov must be a bool, which no schedule"),
        (tl.muon, {"ns_steps": lambda k: 5}, "ns_steps must be an integer, which no schedule"),
        (tl.adamw, {"decay_form": lambda k: "l2"}, "decay_form must be text, which no schedule"),
        (tl.ema, {"overwrite_frequency": lambda k: 2}, "overwrite_frequency must be an integer"),
    ],
)
def test_what_no_schedule_can_change_is_refused_by_name(factory, options, message):
    with pytest.raises(TypeError, match=message):
        tl.inject_hyperparams(factory)(**options)


def test_integers_and_bools_of_a_factory_of_ones_own_are_refused_by_name():
    def descent(rate, times: int = 2, reverse=False):
        return tl.scale(-rate)

    for name in ("times", "reverse"):
        with pytest.raises(TypeError, match=f"{name} must be .*, which no schedule can change"):
            tl.inject_hyperparams(descent)(0.5, **{name: lambda k: 1})


def test_a_schedule_out_of_range_at_step_0_is_refused():
    with pytest.raises(ValueError, match="momentum at step 0 must be .* at most 1, got 1.5"):
        tl.inject_hyperparams(tl.sgd)(0.1, momentum=lambda k: 1.5)
    with pytest.raises(ValueError, match=r"the schedule of beta_1 must return one number, got .*2"):
        tl.inject_hyperparams(tl.adam)(beta_1=lambda k: [0.5, 0.5])
    state = tl.inject_hyperparams(tl.ftrl)(lambda k: 0.1 * tf.cast(k, tf.float64)).init(PARAMS)
    assert float(state.hyperparams["learning_rate"]) == 0.0  # rates may warm up from 0


def heavy_ball(rate, momentum=0.9, *, scale=1.0):
    """An optimizer of plain TensorFlow, which casts nothing."""

    def update(grads, state, params):
        v = tf.nest.map_structure(lambda v, g: momentum * v - scale * rate * g, state, grads)
        return v, v

    return tl.Optimizer(lambda params: tf.nest.map_structure(tf.zeros_like, params), update)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_factory_of_ones_own_gets_tensors_in_the_dtype_of_the_parameters(dtype):
    tx = tl.inject_hyperparams(heavy_ball)(
        0.5, momentum=lambda k: 0.25 + 0.25 * tf.cast(k, tf.float64), scale=2.0
    )
    w = tf.constant([1.0], dtype)
    state = tx.init(w)
    assert state.hyperparams["momentum"].dtype == tf.float64
    seen = []
    for _ in range(2):
        updates, state = tx.update(w, state, w)
        seen.append(float(updates[0]))
    assert updates.dtype == dtype and seen == [-1.0, -1.5]


def test_keywords_that_a_factory_passes_on_are_held_by_name():
    tx = tl.inject_hyperparams(lambda *args, **keywords: tl.adam(*args, **keywords))(
        beta_1=lambda k: 0.5, epsilon=0.25
    )
    held = tx.init(PARAMS).hyperparams
    assert {k: float(x) for k, x in held.items()} == {"beta_1": 0.5, "epsilon": 0.25}
    tx.update(GRADS, tx.init(PARAMS), PARAMS)


def test_rules_by_path_take_schedules_of_any_number():
    tx = tl.param_rules("b:momentum*=0.5", tl.sgd, learning_rate=1.0, momentum=lambda k: 0.5)
    state = tx.init(PARAMS)
    for expected in ((-1.0, -1.0), (-1.5, -1.25)):
        updates, state = tx.update({"w": tf.ones(2), "b": tf.ones([])}, state, PARAMS)
        assert (float(updates["w"][0]), float(updates["b"])) == expected
    with pytest.raises(TypeError, match="nesterov must be a bool"):
        tl.param_rules("b:momentum=0.5", tl.sgd, momentum=0.5, nesterov=lambda k: True)


def test_the_schedule_free_average_follows_a_changing_beta_1():
    """x is recovered with the beta_1 that made y, so that it stays the mean of z."""
    betas = [0.5, 0.75, 0.25]
    tx = tl.inject_hyperparams(tl.schedule_free_adamw)(
        0.1, beta_1=lambda k: tf.gather(betas, k), weight_lr_power=0.0
    )
    w = tf.constant([1.0, -2.0], tf.float64)
    state, z = tx.init(w), []
    for _ in betas:
        updates, state = tx.update(2 * w, state, w)
        w = tl.apply_updates(w, updates)
        z.append(state.inner.z.numpy())
        averaged = tl.schedule_free_eval_params(state.inner, w)
        np.testing.assert_allclose(averaged, np.mean(z, axis=0), rtol=1e-12)

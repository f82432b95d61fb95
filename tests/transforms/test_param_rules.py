"""`param_rules` and `rules_table`."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

RULES = ".*/(bias|gamma|beta):weight_decay=0; enc/.*:learning_rate*=0.1; emb/.*:freeze"


def params():
    return {
        "emb": {"table": tf.ones([4, 2])},
        "enc": {"kernel": tf.ones([2, 2]), "bias": tf.ones([2])},
        "head": {"kernel": tf.ones([2, 1]), "bias": tf.ones([1])},
    }


def grads():
    return tf.nest.map_structure(lambda w: tf.fill(w.shape, 0.5), params())


def run(tx, steps=3, state=None):
    w = params()
    state = tx.init(w) if state is None else state
    for _ in range(steps):
        updates, state = tx.update(grads(), state, w)
        w = tl.apply_updates(w, updates)
    return w, state


def by_hand(path, **options):
    w = params()
    for key in path.split("/"):
        w = w[key]
    tx = tl.adamw(**options)
    state = tx.init(w)
    for _ in range(3):
        updates, state = tx.update(tf.fill(w.shape, 0.5), state, w)
        w = tl.apply_updates(w, updates)
    return w


def test_each_parameter_follows_its_rules():
    w, _ = run(tl.param_rules(RULES, tl.adamw, learning_rate=0.01, weight_decay=0.1))
    expected = {
        "enc/kernel": {"learning_rate": 0.001, "weight_decay": 0.1},
        "enc/bias": {"learning_rate": 0.001, "weight_decay": 0.0},
        "head/kernel": {"learning_rate": 0.01, "weight_decay": 0.1},
        "head/bias": {"learning_rate": 0.01, "weight_decay": 0.0},
    }
    for path, options in expected.items():
        layer, name = path.split("/")
        np.testing.assert_allclose(w[layer][name], by_hand(path, **options), rtol=2e-7)
    assert tf.reduce_all(w["emb"]["table"] == 1)


def test_frozen_parameters_have_no_state_and_do_not_count_in_the_norm():
    tx = tl.param_rules(
        "emb/.*:freeze", tl.sgd, before=tl.clip_by_global_norm(1.0), learning_rate=1.0, momentum=0.5
    )
    w = params()
    state = tx.init(w)
    assert not any(4 in x.shape for x in tf.nest.flatten(state))
    updates, _ = tx.update(grads(), state, w)
    assert updates["emb"]["table"] is None
    norm = 0.5 * np.sqrt(4 + 2 + 2 + 1)
    np.testing.assert_allclose(updates["enc"]["bias"], -0.5 / norm, rtol=1e-6)


def test_rules_are_applied_in_order():
    rules = ".*:learning_rate=0.5; enc/.*:learning_rate*=0.5; enc/bias:learning_rate*=0.5"
    updates, _ = update_once(tl.param_rules(rules, tl.sgd, learning_rate=8.0))
    found = {
        k: float(-2 * u[0])
        for k, u in (
            ("head", updates["head"]["bias"]),
            ("enc", updates["enc"]["kernel"][0]),
            ("bias", updates["enc"]["bias"]),
        )
    }
    assert found == {"head": 0.5, "enc": 0.25, "bias": 0.125}
    backwards = "enc/.*:learning_rate*=0.5; .*:learning_rate=0.5"
    updates, _ = update_once(tl.param_rules(backwards, tl.sgd, learning_rate=8.0))
    assert float(updates["enc"]["bias"][0]) == -0.25


def update_once(tx):
    return tx.update(grads(), tx.init(params()), params())


def test_freeze_overrides_other_rules():
    updates, _ = update_once(
        tl.param_rules("emb/.*:freeze; emb/table:learning_rate=1", tl.sgd, learning_rate=1.0)
    )
    assert updates["emb"]["table"] is None


def test_schedules_are_multiplied():
    tx = tl.param_rules(
        "enc/.*:learning_rate*=0.5", tl.sgd, learning_rate=lambda k: tf.cast(k + 1, tf.float64)
    )
    state = tx.init(params())
    for step in (1, 2, 3):
        updates, state = tx.update(grads(), state, params())
        assert float(updates["enc"]["bias"][0]) == -0.25 * step
        assert float(updates["head"]["bias"][0]) == -0.5 * step


def test_a_multiplied_default_is_that_of_the_convention():
    for convention, expected in (("keras", 0.004), ("torch", 0.01)):
        tx = tl.param_rules(
            "enc/.*:weight_decay*=0.5", tl.adamw, learning_rate=0.1, convention=convention
        )
        assert float(tx.init(params()).hyperparams["weight_decay"]) == expected


@pytest.mark.parametrize("jit", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_numbers_can_be_set_without_a_new_trace_or_losing_moments(jit):
    tx = tl.param_rules(RULES, tl.adamw, learning_rate=0.01)
    traces = []

    @functools.partial(tf.function, jit_compile=jit, autograph=False)
    def update(g, state, w):
        traces.append(1)
        return tx.update(g, state, w)

    state = tx.init(params())
    assert sorted(state.hyperparams) == [
        ".*/(bias|gamma|beta):weight_decay=",
        "enc/.*:learning_rate*=",
        "learning_rate",
        "weight_decay",
    ]
    first, state = update(grads(), state, params())
    changed = tl.set_hyperparams(state, **{"enc/.*:learning_rate*=": 0.2})
    tf.nest.map_structure(np.testing.assert_array_equal, changed.inner, state.inner)
    before, _ = update(grads(), state, params())
    after, _ = update(grads(), changed, params())
    assert len(traces) == 1
    np.testing.assert_allclose(after["enc"]["bias"], 2 * before["enc"]["bias"], rtol=1e-6)
    np.testing.assert_array_equal(after["head"]["bias"], before["head"]["bias"])


@pytest.mark.parametrize(
    "rules, message",
    [
        ("encoder/.*:freeze", r"'encoder/\.\*'; the paths are emb/table, enc/bias"),
        ("bias:freeze", "no parameter path fully matches 'bias'"),
        (".*:freeze", "rules must leave a parameter to update"),
    ],
)
def test_patterns_that_match_nothing_are_refused(rules, message):
    with pytest.raises(ValueError, match=message):
        tl.param_rules(rules, tl.adamw).init(params())


@pytest.mark.parametrize(
    "rules, message",
    [
        (".*:weight_deacy=0", "'weight_deacy': did you mean 'weight_decay'"),
        (".*:weight_decay=none", "'none' is not a number"),
        (".*:weight_decay=-1", "weight_decay must be at least 0, got -1"),
        (".*:learning_rate*=-1", "must be at least 0, got -1"),
        (".*:beta_1*=2", "beta_1 must be at least 0 and below 1, got 1.8"),
        (".*:amsgrad=1", "amsgrad is not a number that can be set"),
        (".*:learning_rate", "is not name=value"),
        (".*:", "expected pattern:name=value"),
        ("freeze", "expected pattern:name=value"),
        ("(:freeze", "is not a valid regular expression"),
        (".*:beta_1=0.5; .*:beta_1=0.6", r"rules must set \.\*:beta_1= once"),
    ],
)
def test_rules_that_cannot_be_parsed_are_refused(rules, message):
    with pytest.raises(ValueError, match=message):
        tl.param_rules(rules, tl.adamw, learning_rate=0.1, beta_1=0.9)


def test_unknown_hyperparameters_are_refused():
    with pytest.raises(ValueError, match="'learning_rat': did you mean 'learning_rate'"):
        tl.param_rules("", tl.adamw, learning_rat=0.1)


def test_a_partial_function_keeps_the_defaults_that_it_was_made_with():
    rules = "head/.*:weight_decay*=0.5"
    partly = functools.partial(tl.adamw, 0.01, weight_decay=0.5, convention="torch")
    w, _ = run(tl.param_rules(rules, partly))
    expected, _ = run(
        tl.param_rules(rules, tl.adamw, learning_rate=0.01, weight_decay=0.5, convention="torch")
    )
    tf.nest.map_structure(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-7), w, expected)
    with pytest.raises(ValueError, match="unknown hyperparameter of adamw 'learning_rat'"):
        tl.param_rules("", partly, learning_rat=0.1)


def test_patterns_may_contain_colons_and_commas():
    rules = ["(?:enc|head)/b.{0,2}s:learning_rate*=0.5, weight_decay = 0", "emb/.*:freeze"]
    state = tl.param_rules(rules, tl.adamw).init(params())
    assert "(?:enc|head)/b.{0,2}s:weight_decay=" in state.hyperparams


def test_without_rules_the_optimizer_is_plain():
    w, _ = run(tl.param_rules("", tl.adamw, learning_rate=0.01))
    expected, _ = run(tl.adamw(0.01))
    tf.nest.map_structure(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-7), w, expected)


def test_the_table_shows_the_values_that_apply():
    table = tl.rules_table(
        RULES + "; enc/kernel:beta_1*=0.5",
        params(),
        {"learning_rate": tl.constant_schedule(0.1), "weight_decay": 0.01},
    )
    assert [" ".join(line.split()) for line in table] == [
        "parameter learning_rate weight_decay beta_1",
        "emb/table frozen frozen frozen",
        "enc/bias schedule * 0.1 0 default",
        "enc/kernel schedule * 0.1 0.01 default * 0.5",
        "head/bias schedule 0 default",
        "head/kernel schedule 0.01 default",
    ]
    assert len({line.index("schedule") for line in table[2:]}) == 1
    with pytest.raises(ValueError, match="fully matches"):
        tl.rules_table("nothing/.*:freeze", params(), {})


def test_rules_apply_to_a_keras_model():
    import keras

    model = keras.Sequential(
        [
            keras.Input([3]),
            keras.layers.Dense(2, name="enc"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(1, name="head"),
        ]
    )
    tx = tl.param_rules(
        ".*/(bias|gamma|beta)$:weight_decay=0; enc/.*:freeze",
        tl.adamw,
        learning_rate=0.1,
        before=tl.clip_by_global_norm(1.0),
    )
    trainer = tl.Trainer(model, "mean_squared_error", tx, execution="graph")
    before = trainer.state.params
    rng = np.random.default_rng(0)
    trainer.fit((rng.normal(size=(8, 3)), rng.normal(size=(8, 1))), batch_size=4)
    for path, w in trainer.state.params.items():
        assert bool(tf.reduce_all(w == before[path])) == path.startswith("enc/")

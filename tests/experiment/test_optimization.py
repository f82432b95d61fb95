"""The optimizer that flags name, with schedule, clipping, constraint and accumulation."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.experiments import experiment

import trainlib as tl
from trainlib.experiment.optimization import build_optimization
from trainlib.registry import OPTIMIZERS, hyperparameters


def rate(schedule, step):
    return float(schedule(tf.constant(step, tf.int64)))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_default_rate_is_the_optimizers(name):
    made = build_optimization(experiment(f"--optimizer={name}"), 10)
    optimizer, schedule = made.optimizer, made.schedule
    params = {"w": tf.constant([1.0, 2.0])}
    expected, _ = OPTIMIZERS[name]().update(params, OPTIMIZERS[name]().init(params), params)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    np.testing.assert_allclose(updates["w"], expected["w"], rtol=1e-6)
    own = hyperparameters(OPTIMIZERS[name])["learning_rate"].default
    assert rate(schedule, 5) == pytest.approx(own)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--schedule=constant",), {0: 0.1, 99: 0.1}),
        (("--schedule=cosine_decay",), {0: 0.1, 50: 0.05, 100: 0}),
        (("--schedule=cosine_decay", "--alpha=0.5"), {0: 0.1, 100: 0.05}),
        (("--schedule=cosine_decay", "--decay_steps=50"), {25: 0.05, 50: 0, 100: 0}),
        (
            ("--schedule=cosine_decay", "--warmup_steps=20", "--warmup_target=0.5"),
            {0: 0.1, 10: 0.3, 20: 0.5, 60: 0.25, 100: 0},
        ),
        (("--schedule=exponential_decay", "--decay_rate=0.25"), {0: 0.1, 50: 0.05, 100: 0.025}),
        (
            (
                "--schedule=exponential_decay",
                "--decay_rate=0.5",
                "--decay_steps=40",
                "--staircase",
            ),
            {39: 0.1, 40: 0.05, 100: 0.025},
        ),
        (("--warmup_steps=20",), {0: 0, 10: 0.05, 20: 0.1, 99: 0.1}),
        (("--warmup_steps=20", "--warmup_start=0.05"), {0: 0.05, 10: 0.075, 20: 0.1}),
        (
            ("--schedule=cosine_decay", "--warmup_steps=20"),
            {0: 0, 10: 0.05, 20: 0.1, 60: 0.05, 100: 0},
        ),
        (
            ("--schedule=polynomial_decay", "--warmup_steps=20", "--end_learning_rate=0"),
            {10: 0.05, 20: 0.1, 60: 0.05, 100: 0},
        ),
        (("--schedule=one_cycle", "--pct_start=0.5"), {0: 0.004, 49: 0.1, 99: 4e-7}),
        (
            ("--schedule=warmup_stable_decay", "--warmup_steps=10", "--cooldown_steps=50"),
            {5: 0.05, 10: 0.1, 50: 0.1, 75: 0.05, 100: 0},
        ),
        (
            ("--schedule=step_decay", "--step_size=1", "--drop=0.1", "--per_epoch"),
            {0: 0.1, 49: 0.1, 50: 0.01, 99: 0.01},
        ),
        (("--schedule=cosine_decay", "--per_epoch"), {0: 0.1, 49: 0.1, 50: 0.05}),
        (
            ("--schedule=constant,cosine_decay", "--join_at=20"),
            {0: 0.1, 19: 0.1, 20: 0.1, 60: 0.05, 100: 0},
        ),
        (
            ("--schedule=cyclic", "--maximal_learning_rate=0.5", "--step_size_up=10"),
            {0: 0.1, 10: 0.5, 20: 0.1},
        ),
    ],
)
def test_a_schedule_spans_the_run_unless_it_has_a_length(arguments, expected):
    config = experiment("--optimizer=sgd", "--learning_rate=0.1", "--epochs=2", *arguments)
    optimizer, schedule, _ = build_optimization(config, 50)
    assert {k: rate(schedule, k) for k in expected} == pytest.approx(expected, rel=1e-6, abs=1e-8)
    params = {"w": tf.constant([1.0])}
    state = optimizer.init(params)._replace(step=tf.constant(39, tf.int64))
    updates, _ = optimizer.update(params, state, params)
    assert float(updates["w"][0]) == pytest.approx(-rate(schedule, 39))


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--clipvalue=1", [[-1.0, -1.0], [-0.5]]),
        ("--clipnorm=1", [[-0.6, -0.8], [-0.5]]),
        ("--global_clipnorm=1", [[-3 / 25.25**0.5, -4 / 25.25**0.5], [-0.5 / 25.25**0.5]]),
    ],
)
def test_gradients_are_clipped_before_the_optimizer(flag, expected):
    config = experiment("--optimizer=sgd", "--learning_rate=0.1", flag)
    optimizer = build_optimization(config, 10).optimizer
    grads = [tf.constant([3.0, 4.0]), tf.constant([0.5])]
    updates, _ = optimizer.update(grads, optimizer.init(grads), grads)
    for update, clipped in zip(updates, expected, strict=True):
        np.testing.assert_allclose(update, np.multiply(0.1, clipped), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--optimizer=nadm",), "^unknown optimizer 'nadm': did you mean 'nadam'"),
        (
            ("--schedule=cosine_decy",),
            "^unknown schedule 'cosine_decy': did you mean 'cosine_decay",
        ),
        (("--optimizer=sgd", "--beta_1=0.5"), "^--beta_1 is not for optimizer sgd, which takes"),
        (("--decay_steps=3",), "^--decay_steps is not for schedule constant, which takes none"),
        (
            ("--schedule=exponential_decay",),
            "^schedule exponential_decay needs decay_rate$",
        ),
        (("--learning_rate=-1",), "^learning_rate must be at least 0, got -1.0$"),
        (("--learning_rate=nan",), "^learning_rate must be finite and at least 0, got nan$"),
        (("--beta_1=1",), "^beta_1 must be at least 0 and below 1, got 1.0$"),
        (("--schedule=cosine_decay", "--decay_steps=0"), "^decay_steps must be at least 1, got 0$"),
        (("--optimizer=sgd", "--nesterov"), "^nesterov needs a momentum above 0"),
        (("--clipnorm=0",), "^clipnorm must be above 0, got 0.0$"),
        (
            ("--clipnorm=1", "--clipvalue=1"),
            "^give only one of --clipvalue, --clipnorm, --global_clipnorm, --clipping, --eps$",
        ),
        (
            ("--schedule=piecewise_constant",),
            "^schedule piecewise_constant needs boundaries$",
        ),
        (
            (
                "--schedule=piecewise_constant",
                "--boundaries=5",
                "--values=1,2",
                "--learning_rate=1",
            ),
            "^schedule piecewise_constant has its own rates: leave learning_rate out$",
        ),
        (("--schedule=join",), "^unknown schedule 'join'"),
        (("--schedule=constant,constant",), "^join_at must hold the step at which each"),
        (("--join_at=5",), "^join_at must hold the step .* names 1, join_at 1 steps$"),
        (
            ("--schedule=cosine_decay", "--optimizer=ademamix", "--alpha=1"),
            "^--alpha is ambiguous: optimizer ademamix and schedule cosine_decay take it; give "
            "--optimizer_alpha or --schedule_alpha$",
        ),
        (("--schedule_alpha=1",), "^--schedule_alpha is not for schedule constant, which takes"),
        (("--max_value=1",), "^--max_value needs --constraint=max_norm or min_max_norm$"),
        (("--constrained_params=.*",), "^constrained_params needs a constraint$"),
        (("--constraint=maxnorm",), "^unknown constraint 'maxnorm': did you mean 'max_norm'"),
        (("--constraint=max_norm", "--axis=first"), "^axis must be"),
        (("--reduce_on_plateau_patience=2",), "^--reduce_on_plateau_patience needs --reduce_on"),
        (
            ("--reduce_on_plateau", "--schedule=cosine_decay"),
            "^reduce_on_plateau changes a constant learning rate: leave out the schedule",
        ),
    ],
)
def test_optimizers_that_cannot_be_built_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_optimization(experiment(*arguments), 10)


def test_param_rules_and_accumulation_reach_the_optimizer():
    config = experiment(
        "--optimizer=sgd",
        "--learning_rate=0.5",
        "--schedule=exponential_decay",
        "--decay_rate=0.5",
        "--decay_steps=1",
        "--param_rules=b:freeze; a:learning_rate*=0.5",
        "--gradient_accumulation_steps=2",
    )
    made = build_optimization(config, 3)
    params = {"a": tf.constant(1.0), "b": tf.constant(1.0)}
    state = made.optimizer.init(params)
    for expected in (0.0, -0.25):
        updates, state = made.optimizer.update(params, state, params)
        assert float(updates["a"]) == expected and not updates["b"]
    assert [rate(made.schedule, k) for k in range(3)] == [0.5, 0.25, 0.125]  # by update
    assert made.table(params)[-1].split() == ["b", "frozen"]


def test_a_hyperparameter_of_two_kinds_is_given_to_the_kind_it_is_written_with():
    made = build_optimization(
        experiment(
            "--optimizer=schedule_free_adamw",
            "--optimizer_warmup_steps=3",
            "--schedule_warmup_steps=10",
            "--learning_rate=0.5",
        ),
        10,
    )
    assert rate(made.schedule, 5) == 0.25
    own = build_optimization(
        experiment("--optimizer=schedule_free_adamw", "--warmup_steps=10", "--learning_rate=0.5"),
        10,
    )
    assert rate(own.schedule, 5) == 0.5


def test_the_rate_that_a_plateau_reduces_is_in_the_state():
    made = build_optimization(experiment("--reduce_on_plateau", "--learning_rate=0.25"), 10)
    params = {"w": tf.constant([[1.0]])}
    state = tl.set_hyperparams(made.optimizer.init(params), learning_rate=0.0)
    updates, _ = made.optimizer.update(params, state, params)
    assert made.schedule is None and updates["w"] == 0


@pytest.mark.parametrize("param_rules", [(), ("--param_rules=.*b:learning_rate*=1",)])
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--constraint=non_neg",), {"w": [[0.0, 0.0]], "conv": 0.0, "b": -9.0}),
        (("--constraint=non_neg", "--constrained_params=b"), {"w": -9.0, "conv": -9.0, "b": 0.0}),
        (
            ("--constraint=max_norm", "--max_value=3"),
            {"w": [[-3.0, -3.0]], "conv": -3 / 6**0.5, "b": -9.0},
        ),
        (
            ("--constraint=max_norm", "--max_value=3", "--axis=all"),
            {"w": -3 / 2**0.5, "conv": -3 / 12**0.5, "b": -9.0},
        ),
    ],
)
def test_a_constraint_holds_for_the_kernels_after_the_update(arguments, expected, param_rules):
    config = experiment("--optimizer=sgd", "--learning_rate=1", *arguments, *param_rules)
    optimizer = build_optimization(config, 10).optimizer
    shapes = {"w": (1, 2), "conv": (2, 3, 1, 2), "b": (2,)}
    params = {name: tf.ones(shape) for name, shape in shapes.items()}
    grads = {name: 10 * w for name, w in params.items()}
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    new = tl.apply_updates(params, updates)
    for name, w in expected.items():
        np.testing.assert_allclose(new[name], np.broadcast_to(w, shapes[name]), rtol=1e-6)


def test_lazy_embeddings_leave_rows_without_a_gradient():
    params = {"embedding/embeddings": tf.ones([3, 1]), "dense/kernel": tf.ones([3, 1])}
    grads = {"embedding/embeddings": tf.constant([[1.0], [0.0], [1.0]]), "dense/kernel": None}
    flags = ("--optimizer=sgd", "--momentum=0.5", "--lazy_embeddings", "--clipnorm=1")
    optimizer = build_optimization(experiment(*flags), 10).optimizer
    state = optimizer.init(params)
    for _ in range(2):
        updates, state = optimizer.update(grads, state, params)
        grads = {**grads, "embedding/embeddings": tf.constant([[0.0], [0.0], [1.0]])}
    moved = updates["embedding/embeddings"].numpy().ravel() != 0
    assert moved.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--optimizer=lamb",), "^lazy_embeddings: lazy takes sgd, adagrad"),
        (("--param_rules=.*bias:learning_rate=0.1",), "^lazy_embeddings is for one rule"),
        ((), "^lazy_embeddings is for models with an embedding"),
    ],
)
def test_lazy_embeddings_that_cannot_be_are_refused(flags, message):
    with pytest.raises(ValueError, match=message):
        made = build_optimization(experiment("--lazy_embeddings", *flags), 10)
        made.optimizer.init({"dense/kernel": tf.ones([2, 1])})

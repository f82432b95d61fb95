"""Contenders by text: combinations, named variants, and hyperparameters that only some take."""

from __future__ import annotations

import pytest

import trainlib as tl
from trainlib.experiment.comparison.variants import vary, vary_flags

OPTIMIZERS = "optimizer={sgd,momentum,nesterov,adam}"


def test_momentum_and_nesterov_are_variants_of_sgd():
    found = vary(tl.ExperimentConfig(), OPTIMIZERS)
    assert {name: x.optimizer for name, x in found.items()} == {
        "sgd": tl.config("sgd"),
        "momentum": tl.config("sgd", momentum=0.9),
        "nesterov": tl.config("sgd", momentum=0.9, nesterov=True),
        "adam": tl.config("adam"),
    }


def test_several_flags_make_all_combinations_of_what_their_functions_take():
    found = vary(tl.ExperimentConfig(), {"optimizer": ["momentum", "adam"], "momentum": [0.5, 0.8]})
    assert {name: x.optimizer for name, x in found.items()} == {
        "momentum momentum=0.5": tl.config("sgd", momentum=0.5),
        "momentum momentum=0.8": tl.config("sgd", momentum=0.8),
        "adam": tl.config("adam"),
    }


def test_any_flag_may_vary_and_the_rest_stays():
    config = tl.ExperimentConfig(epochs=7)
    found = vary(config, "hidden={(300,100),50}; batch_size={32,64}")
    assert list(found) == [
        "300,100 batch_size=32",
        "300,100 batch_size=64",
        "50 batch_size=32",
        "50 batch_size=64",
    ]
    last = found["50 batch_size=64"]
    assert (last.model, last.batch_size, last.epochs) == (tl.config("mlp", hidden=(50,)), 64, 7)


def test_given_flags_are_those_of_the_functions_that_vary():
    found = vary_flags({"momentum": 0.7}, "optimizer={sgd,rmsprop}")  # not of adam, the default
    assert found["rmsprop"].optimizer == tl.config("rmsprop", momentum=0.7)
    assert found["sgd"].optimizer == tl.config("sgd", momentum=0.7)


@pytest.mark.parametrize("given", [{}, {"regularizer": "l1"}])
@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("regularizer={none,l2}", "regularizer", {"none": None, "l2": tl.config("l2")}),
        ("regularizer={l2,none}", "regularizer", {"l2": tl.config("l2"), "none": None}),
        (
            "constraint={none,max_norm}",
            "constraint",
            {"none": None, "max_norm": tl.config("max_norm")},
        ),
        (
            "regularizer={none}; depth={1,2}",
            "regularizer",
            dict.fromkeys(["none depth=1", "none depth=2"]),
        ),
    ],
)
def test_a_function_may_be_left_out(text, kind, expected, given):
    found = vary_flags(given, text)
    assert {name: getattr(x, kind) for name, x in found.items()} == expected


def test_a_given_function_stays_where_its_condition_fails():
    text = "depth={1,2}; optimizer={sgd,adam} if depth=2"
    found = vary_flags({"optimizer": "nadam", "batch_size": 64}, text)
    assert {name: x.optimizer.name for name, x in found.items()} == {
        "1": "nadam",
        "2 optimizer=sgd": "sgd",
        "2 optimizer=adam": "adam",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimizer={sgd}", "makes one contender"),
        ("learning_rate=log(1e-3,1e-1)", "learning_rate needs values"),
        ("optimiser={sgd,adam}", "did you mean --optimizer"),
        ("optimizer={sgd,adm}", "adm"),
        ("optimizer=sgd", "^vary, from character 1"),
        ("dataset={digits,mnist}", "^vary: dataset changes the data"),
        ("seed={1,2}", "^vary: seed changes the data"),
    ],
)
def test_what_makes_no_contenders_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        vary(tl.ExperimentConfig(), text)

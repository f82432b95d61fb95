"""The defaults of the conventions equal those of the libraries that they are named after."""

from __future__ import annotations

import importlib
import inspect

import pytest

from trainlib.core.conventions import default_of
from trainlib.registry import OPTIMIZERS

MODULES = {"keras": "keras.optimizers", "torch": "torch.optim", "optax": "optax"}
FTRL = ("learning_rate", "learning_rate_power", "initial_accumulator_value", "beta") + (
    "l1_regularization_strength",
    "l2_regularization_strength",
    "l2_shrinkage_regularization_strength",
)
TABLE = [
    ("sgd", "keras", "SGD", {"learning_rate": "learning_rate"}),
    ("sgd", "torch", "SGD", {"learning_rate": "lr"}),
    (
        "rmsprop",
        "keras",
        "RMSprop",
        {"learning_rate": "learning_rate", "rho": "rho", "epsilon": "epsilon"},
    ),
    ("rmsprop", "torch", "RMSprop", {"learning_rate": "lr", "rho": "alpha", "epsilon": "eps"}),
    ("rmsprop", "optax", "rmsprop", {"rho": "decay", "epsilon": "eps"}),
    (
        "adagrad",
        "keras",
        "Adagrad",
        {
            "learning_rate": "learning_rate",
            "initial_accumulator_value": "initial_accumulator_value",
            "epsilon": "epsilon",
        },
    ),
    (
        "adagrad",
        "torch",
        "Adagrad",
        {
            "learning_rate": "lr",
            "initial_accumulator_value": "initial_accumulator_value",
            "epsilon": "eps",
        },
    ),
    (
        "adagrad",
        "optax",
        "adagrad",
        {"initial_accumulator_value": "initial_accumulator_value", "epsilon": "eps"},
    ),
    (
        "adadelta",
        "keras",
        "Adadelta",
        {"learning_rate": "learning_rate", "rho": "rho", "epsilon": "epsilon"},
    ),
    ("adadelta", "torch", "Adadelta", {"learning_rate": "lr", "rho": "rho", "epsilon": "eps"}),
    ("adadelta", "optax", "adadelta", {"rho": "rho", "epsilon": "eps"}),
    ("ftrl", "keras", "Ftrl", {name: name for name in FTRL}),
    (
        "lion",
        "keras",
        "Lion",
        {"learning_rate": "learning_rate", "beta_1": "beta_1", "beta_2": "beta_2"},
    ),
    ("lion", "optax", "lion", {"weight_decay": "weight_decay"}),
    ("signum", "optax", "signum", {"momentum": "beta"}),
    ("rprop", "torch", "Rprop", {"learning_rate": "lr"}),
]


@pytest.mark.parametrize(("name", "library", "peer", "arguments"), TABLE)
def test_defaults_equal_those_of_the_library(name, library, peer, arguments):
    pytest.importorskip(library)
    theirs = defaults(getattr(importlib.import_module(MODULES[library]), peer))
    ours = {x: default_of(OPTIMIZERS[name], x, library) for x in arguments}
    assert ours == {x: theirs[y] for x, y in arguments.items()}


def test_step_sizes_of_rprop_equal_those_of_torch():
    theirs = defaults(pytest.importorskip("torch").optim.Rprop)
    ours = defaults(OPTIMIZERS["rprop"])
    assert (ours["eta_minus"], ours["eta_plus"]) == theirs["etas"]
    assert (ours["min_step_size"], ours["max_step_size"]) == theirs["step_sizes"]


def defaults(function):
    return {name: p.default for name, p in inspect.signature(function).parameters.items()}

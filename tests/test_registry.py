"""The table of names: what it holds can be called, and what it says of a factory is true."""

from __future__ import annotations

import inspect

import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.core.conventions import BY_CONVENTION
from trainlib.registry import (
    KINDS,
    METRICS,
    NOT_BY_NAME,
    OPTIMIZERS,
    Hyperparameter,
    hyperparameters,
    lookup,
    takes_numbers_alone,
)

ENTRIES = [(kind, name) for kind, table in KINDS.items() for name in table]
REQUIRED = {
    "initial_learning_rate": 0.5,
    "maximal_learning_rate": 1.0,
    "decay_steps": 10,
    "first_decay_steps": 10,
    "total_steps": 10,
    "hold_steps": 10,
    "step_size": 10,
    "step_size_up": 10,
    "warmup_steps": 2,
    "decay_rate": 0.5,
    "boundaries": [10],
    "values": [0.5, 0.25],
    "clipvalue": 1.0,
    "clipnorm": 1.0,
    "global_clipnorm": 1.0,
}
"""A value for each hyperparameter that has no default."""


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_each_entry_is_a_function_of_its_own_name(kind, name):
    found = lookup(kind, name)
    assert found is KINDS[kind][name]
    assert found.__name__ == name


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        entry
        for entry in ENTRIES
        if entry[0] not in ("loss", "metric") and takes_numbers_alone(lookup(*entry))
    ],
)
def test_each_factory_makes_what_its_kind_promises(kind, name):
    factory = lookup(kind, name)
    made = factory(**{k: REQUIRED[k] for k, h in hyperparameters(factory).items() if h.required})
    params = {"w": tf.constant([[3.0, -4.0]])}
    if kind == "schedule":
        assert (made(0).shape, made(0).dtype) == ((), tf.float32)
        assert 0 < made(2) <= 1
    elif kind == "monitor":
        assert made.update(1.0, made.init(0.1)).epoch == 1
    elif kind == "constraint":
        assert made(params["w"]).shape == [1, 2]
        assert tf.reduce_any(made(params["w"]) != params["w"])
    elif kind == "regularizer":
        assert made(params).shape == []
    else:
        updates, state = made.update(params, made.init(params), params)
        tf.nest.assert_same_structure(made.init(params), state)
        assert updates["w"].shape == [1, 2]
        assert tf.reduce_any(updates["w"] != 0)


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_counts_examples_with_its_defaults(name):
    y_pred = tf.constant([[0.25, 0.75], [0.75, 0.25], [0.25, 0.75]])
    rows = tf.constant([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    sparse = name.startswith("sparse")
    metric = tl.metrics.as_metric(tl.metrics.make_metric(METRICS[name]))
    record = metric.from_model_output([1, 1, 0] if sparse else rows, y_pred)
    tf.nest.assert_same_structure(metric.empty(2), record)
    assert any(tf.reduce_any(x != 0) for x in record)
    assert metric.compute(record).shape == ([2, 2] if name == "confusion_matrix" else [])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_need_no_hyperparameters_and_are_public(name):
    assert getattr(tl, name) is OPTIMIZERS[name]
    assert not any(h.required for h in hyperparameters(OPTIMIZERS[name]).values())
    assert isinstance(OPTIMIZERS[name](), tl.Optimizer)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_metrics_and_factories_are_public(kind):
    for name, function in KINDS[kind].items():
        home = {"loss": tl.losses, "metric": tl.metrics}.get(kind, tl)
        assert getattr(home, name) is function


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_a_misspelt_name_gets_the_nearest_one(kind, name):
    misspelt = name[:-1] + "_" + name[-1]
    with pytest.raises(ValueError, match=f"^unknown {kind} '{misspelt}': did you mean '{name}'"):
        lookup(kind, misspelt)


@pytest.mark.parametrize("name", ["zzz", "", None, 3, ("adam",)])
def test_a_name_like_no_other_gets_the_list(name):
    with pytest.raises(ValueError) as error:
        lookup("clipping", name)
    names = "clip_by_value, clip_by_norm, clip_by_global_norm, adaptive_clip"
    assert str(error.value) == f"unknown clipping {name!r}: there are {names}"


def test_a_table_of_ones_own_is_looked_up_too():
    assert lookup("model", "mlp", tl.models.MODELS) is tl.models.mlp
    with pytest.raises(ValueError, match="unknown model 'mpl': did you mean 'mlp'"):
        lookup("model", "mpl", tl.models.MODELS)


def test_hyperparameters_are_those_of_the_signature():
    def factory(rate: float, outputs: int, momentum: float = 0.5, *, nesterov: bool = False):
        raise AssertionError("not to be called")

    assert list(hyperparameters(factory).values()) == [
        Hyperparameter("rate", "float", None, True),
        Hyperparameter("momentum", "float", 0.5, False),
        Hyperparameter("nesterov", "bool", False, False),
    ]


def test_hyperparameters_mean_what_the_docstring_says():
    def factory(rate=0.5, beta_1=0.5, beta_2=0.5, silent=1):
        """A factory.

            silent: an equation

        Args:
            rate: how fast; at
                least 0.
            beta_1, beta_2: of the moments.

        Raises:
            rate: an error.

        silent: no argument.
        """

    assert {name: found.about for name, found in hyperparameters(factory).items()} == {
        "rate": "how fast; at least 0.",
        "beta_1": "of the moments.",
        "beta_2": "of the moments.",
        "silent": "",
    }


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_hyperparameters_have_the_factorys_order_and_defaults(kind, name):
    factory = lookup(kind, name)
    arguments = inspect.signature(factory).parameters
    found = hyperparameters(factory)
    filled_in = {"y_true", "y_pred", "from_logits", "dtype"}
    for_flags = [name for name, p in arguments.items() if p.annotation not in NOT_BY_NAME]
    assert list(found) == [name for name in for_flags if name not in filled_in]
    for hyperparameter in found.values():
        default = arguments[hyperparameter.name].default
        assert hyperparameter.required == (default is inspect.Parameter.empty)
        if default is BY_CONVENTION:
            default = factory.conventions[arguments["convention"].default][hyperparameter.name]
        assert hyperparameter.required or hyperparameter.default == default


def test_a_convention_brings_its_own_defaults():
    of_torch = hyperparameters(OPTIMIZERS["sgd"], "torch")["learning_rate"].default
    assert of_torch == OPTIMIZERS["sgd"].conventions["torch"]["learning_rate"]
    assert of_torch != hyperparameters(OPTIMIZERS["sgd"])["learning_rate"].default
    with pytest.raises(ValueError, match="unknown convention of sgd 'torhc'.*'torch'"):
        hyperparameters(OPTIMIZERS["sgd"], "torhc")


@pytest.mark.parametrize("name", ["beta_1", "beta_2", "epsilon", "amsgrad"])
def test_an_argument_as_in_another_function_means_the_same(name):
    meanings = [
        hyperparameters(OPTIMIZERS[optimizer])[name].about for optimizer in ("adam", "adamw")
    ]
    assert meanings[0] == meanings[1] != ""

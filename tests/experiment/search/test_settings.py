"""The configurations of a search: conditional parameters, grids, and what is refused."""

from __future__ import annotations

import itertools
import random

import pytest
from helpers.experiments import experiment

import trainlib as tl
from trainlib.experiment.search.checks import check_comparable, searched_config
from trainlib.experiment.search.space import Choices
from trainlib.experiment.search.space_text import parse_space

CONFIG = tl.ExperimentConfig(epochs=3)


def searched(text, config=CONFIG):
    return searched_config(config, parse_space(text))


def draws(text, count=60):
    """Random values of trials, with their configurations."""
    chosen, found = random.Random(0), searched(text)

    def suggest(parameter):
        values = parameter.distribution
        if isinstance(values, Choices):
            return chosen.choice(values.values)
        if values.is_integer:
            return chosen.randint(values.low, values.high)
        return chosen.uniform(values.low, values.high)

    for _ in range(count):
        drawn = found.draw(suggest)
        yield drawn, found.config(drawn)


def test_a_hyperparameter_is_drawn_where_the_drawn_function_takes_it():
    text = "momentum=uniform(0,0.9); beta_1=uniform(0.8,0.95); optimizer={sgd,nadam}"
    seen = set()
    for drawn, config in draws(text):
        seen.add(config.optimizer.name)
        taken = {"sgd": "momentum", "nadam": "beta_1"}[config.optimizer.name]
        assert set(drawn) == {"optimizer", taken}
        assert set(config.optimizer.hyperparameters) == {taken}
    assert seen == {"sgd", "nadam"}


def test_a_condition_restricts_a_parameter_further():
    text = "momentum=uniform(0,0.9) if optimizer=sgd; optimizer={sgd,rmsprop}"
    for drawn, config in draws(text):
        assert ("momentum" in drawn) == (config.optimizer.name == "sgd")


def test_a_condition_may_name_numbers():
    for drawn, config in draws("depth=int(0,3); width=int(1,9) if depth=2|3"):
        assert ("width" in drawn) == (drawn["depth"] >= 2)
        assert config.model.hyperparameters["depth"] == drawn["depth"]


def test_none_leaves_a_flag_out_and_what_depends_on_it():
    names = set()
    for drawn, config in draws("regularizer={none,l2}; l2=log(1e-6,1e-2); clipnorm={none,1}"):
        names.add(config.regularizer and config.regularizer.name)
        assert ("l2" in drawn) == (config.regularizer is not None)
        assert (config.clipping is None) == (drawn["clipnorm"] == "none")
    assert names == {None, "l2"}


def test_a_monitor_is_switched_with_its_hyperparameters():
    for drawn, config in draws("early_stop={true,false}; early_stop_patience=int(1,5)"):
        assert ("early_stop_patience" in drawn) == bool(config.monitors)


def test_values_replace_those_of_the_configuration():
    config = tl.ExperimentConfig(optimizer=tl.config("sgd", learning_rate=0.5, momentum=0.9))
    found = searched("learning_rate={0.1,0.2}", config).config({"learning_rate": "0.2"})
    assert dict(found.optimizer.hyperparameters) == {"learning_rate": 0.2, "momentum": 0.9}


@pytest.mark.parametrize(
    ("flags", "text", "kept", "replaced"),
    [
        (
            ["--batch_size=256"],
            "optimizer={sgd,adam}; batch_size={32,64} if optimizer=sgd",
            ({"optimizer": "adam"}, "--batch_size=256"),
            ({"optimizer": "sgd", "batch_size": "64"}, "--optimizer=sgd --batch_size=64"),
        ),
        (
            ["--optimizer=sgd", "--momentum=0.9"],
            "optimizer={sgd,rmsprop}; momentum={0.5} if optimizer=rmsprop",
            ({"optimizer": "sgd"}, "--optimizer=sgd --momentum=0.9"),
            ({"optimizer": "rmsprop", "momentum": "0.5"}, "--optimizer=rmsprop --momentum=0.5"),
        ),
        (
            ["--optimizer=nadam"],
            "depth={1,2}; optimizer={sgd,adam} if depth=2",
            ({"depth": "1"}, "--optimizer=nadam --depth=1"),
            ({"depth": "2", "optimizer": "sgd"}, "--optimizer=sgd --depth=2"),
        ),
        (
            ["--early_stop", "--early_stop_patience=7"],
            "depth={1,2}; early_stop={true,false} if depth=2; early_stop_patience={3} if depth=2",
            ({"depth": "1"}, "--early_stop --early_stop_patience=7 --depth=1"),
            (
                {"depth": "2", "early_stop": "true", "early_stop_patience": "3"},
                "--early_stop --early_stop_patience=3 --depth=2",
            ),
        ),
    ],
)
def test_where_a_condition_fails_the_value_of_the_configuration_stays(flags, text, kept, replaced):
    found = searched(text, experiment(*flags))
    for drawn, expected in (kept, replaced):
        assert found.config(drawn) == experiment(*expected.split())


def test_a_hyperparameter_that_other_functions_lack_is_kept_where_it_is_taken():
    config = experiment("--optimizer=sgd", "--momentum=0.9")
    found = searched("optimizer={sgd,rmsprop,adam}; momentum={0.5} if optimizer=rmsprop", config)
    assert found.config({"optimizer": "sgd"}).optimizer == tl.config("sgd", momentum=0.9)
    assert found.config({"optimizer": "adam"}).optimizer == tl.config("adam")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_order_of_the_entries_does_not_matter(order):
    entries = ("momentum={0.5,0.9}", "depth={1,2}", "optimizer={sgd,adam} if depth=2")
    found = searched("; ".join(entries[k] for k in order), experiment("--optimizer=adam"))
    assert {frozenset(x.items()) for x in found.grid()} == {
        frozenset({("depth", "1")}),
        frozenset({("depth", "2"), ("optimizer", "adam")}),
        *(
            frozenset({("depth", "2"), ("optimizer", "sgd"), ("momentum", x)})
            for x in ("0.5", "0.9")
        ),
    }


def test_a_function_that_not_all_trials_draw_decides_what_the_others_take():
    text = "depth={1,2}; optimizer={sgd,adam} if depth=2; momentum={0.5,0.9}"
    grid = list(searched(text, experiment("--optimizer=rmsprop")).grid())
    taken = {(x["depth"], x.get("optimizer")): "momentum" in x for x in grid}
    assert taken == {("1", None): True, ("2", "sgd"): True, ("2", "adam"): False}


def test_a_grid_has_each_combination_once():
    grid = list(searched("depth=int(0,2); width={5,9} if depth=1|2; batch_size={32}").grid())
    pairs = [(x["depth"], x.get("width")) for x in grid]
    assert pairs == [(0, None), (1, "5"), (1, "9"), (2, "5"), (2, "9")]
    steps = list(searched("dropout=uniform(0,0.4,0.2)").grid())
    assert [round(x["dropout"], 12) for x in steps] == [0, 0.2, 0.4]


def test_a_grid_of_a_range_without_steps_is_refused():
    with pytest.raises(ValueError, match="grid needs values of learning_rate"):
        next(searched("learning_rate=log(1e-3,1e-1)").grid())


@pytest.mark.parametrize(
    ("text", "value", "has_width"),
    [
        ("dropout=uniform(0,0.4,0.2); width={5} if dropout=0.2", 0.2, True),
        ("dropout=uniform(0,0.6,0.1); width={5} if dropout=0.3", 0.1 + 0.2, True),
        ("dropout=uniform(0,0.6,0.1); width={5} if dropout=0.3", 0.2, False),
        ("batch_size=int(1,100); width={5} if batch_size=57", 57, True),
        ("batch_size=int(8,64,8); width={5} if batch_size=16", 16, True),
        ("epochs=logint(1,1000); width={5} if epochs=30", 30, True),
        ("learning_rate={1e-3,1e-2}; width={5} if learning_rate=0.001", "1e-3", True),
    ],
)
def test_a_condition_names_any_value_and_compares_numbers(text, value, has_width):
    found = searched(text)
    drawn = found.draw(lambda parameter: "5" if parameter.name == "width" else value)
    assert ("width" in drawn) == has_width


@pytest.mark.parametrize(
    "text",
    [
        "batch_size=int(8,64,8); width={5} if batch_size=17",
        "dropout=uniform(0,0.4,0.2); width={5} if dropout=0.1",
        "epochs=logint(2,1000); width={5} if epochs=1",
    ],
)
def test_a_condition_between_the_steps_is_never_met(text):
    with pytest.raises(ValueError, match="no trial meets the condition of width"):
        searched(text)


MANY = (
    "batch_size={8,16,24,32,40,48,56,64}; epochs={1,2,3,4,5,6,7,8};"
    "dropout={0,.1,.2,.3,.4,.5,.6,.7,.8};"
    "optimizer={adam,nadam,sgd}; depth=int(1,3) if batch_size=64; momentum={0.5} if epochs=8;"
)
"""More combinations of values that others depend on than are checked."""


def test_combinations_that_are_not_all_checked_are_not_refused():
    text = MANY + "width={5} if dropout=0.8"
    names = {parameter.name for parameter in searched(text).space.parameters}
    assert {"depth", "momentum", "width"} < names
    with pytest.raises(ValueError, match="no trial meets the condition of width"):
        searched(MANY + "width={5} if dropout=0.9")
    with pytest.raises(ValueError, match="no trial can have .*width=0"):
        searched(MANY + "width=int(0,5) if batch_size=64")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat=log(1e-3,1)", "did you mean --learning_rate"),
        ("optimizer={sgd,nadamm}", "unknown optimizer 'nadamm': did you mean 'nadam'"),
        ("momentum=uniform(0,0.9)", "momentum is not for optimizer adam"),
        ("rho=uniform(0.1,0.9); optimizer={sgd,adam}", "no trial takes rho; it is for rmsprop"),
        (
            "momentum=uniform(0,2); optimizer={sgd,adam}",
            "momentum must be at least 0 and at most",
        ),
        ("depth=uniform(0,3)", "depth takes integers"),
        ("depth={1,x}", "'x' is not an integer"),
        ("optimizer=int(1,3)", "optimizer takes no numbers"),
        ("seed=int(0,9)", "seed changes the data that trials are compared on"),
        ("keep_checkpoints=int(1,3)", "does not change what a trial learns"),
        ("depth=int(0,3) if batch_size=9; batch_size={8}", "no trial meets the condition"),
    ],
)
def test_what_no_trial_can_have_is_refused(text, message):
    with pytest.raises(ValueError) as caught:
        searched(text)
    assert message in str(caught.value)


def test_a_fixed_hyperparameter_that_some_functions_lack_is_refused_with_the_next_step():
    config = tl.ExperimentConfig(optimizer=tl.config("sgd", momentum=0.9))
    with pytest.raises(ValueError, match=r"write it into the search: momentum=\{0.9\}"):
        searched("optimizer={sgd,adam}", config)
    config = tl.ExperimentConfig(regularizer=tl.config("l2", l2=0.1))
    with pytest.raises(ValueError, match=r"write it into the search: l2=\{0.1\}"):
        searched("regularizer={l2,none}", config)


@pytest.mark.parametrize("text", ["l2=log(1e-6,1)", "delta={1,2}", "loss_weights={main=1}"])
def test_what_changes_the_loss_is_not_compared_by_it(text):
    config = tl.ExperimentConfig(loss="huber", regularizer=tl.config("l2", l2=0.1))
    found = searched(text, config)
    with pytest.raises(ValueError, match="changes what val_loss is"):
        check_comparable(found, "val_loss")
    check_comparable(found, "val_accuracy")
    check_comparable(searched("learning_rate=log(1e-3,1)", config), "val_loss")

"""The flags of `train` are generated from the configuration, and parsed into it."""

from __future__ import annotations

import re

import pytest
from absl import flags

import trainlib as tl
from trainlib.augmentation import AUGMENTATIONS
from trainlib.cli.flags import (
    define_experiment,
    experiment_config,
    function_topics,
    given_flags,
)
from trainlib.cli.help import help_text, topic_text
from trainlib.experiment.functions import FUNCTIONS
from trainlib.registry import OPTIMIZERS, hyperparameters

MEMBERS = [(kind, name) for kind, functions in FUNCTIONS.items() for name in functions]


@pytest.fixture
def parse():
    """`parse("--epochs=1")`: the values of an experiment's flags."""

    def parsed(*arguments):
        values = flags.FlagValues()
        define_experiment(values)
        values(["train", *arguments])
        return values

    return parsed


def words(text):
    return " ".join(text.split())


def test_without_flags_an_experiment_has_the_defaults_of_the_library(parse):
    assert experiment_config(parse()) == tl.ExperimentConfig()


def test_flags_describe_the_same_experiment_as_a_configuration(parse):
    values = parse(
        "--dataset=fashion_mnist",
        "--model=mlp",
        "--hidden=8,4",
        "--optimizer=nadam",
        "--learning_rate=0.01",
        "--schedule=constant,cosine_decay",
        "--join_at=100",
        "--alpha=0.5",
        "--early_stop",
        "--early_stop_patience=3",
        "--clipnorm=1",
        "--metrics=accuracy,auc",
        "--noreport",
        "--tensorboard",
        "--tensorboard_steps=5",
        "--validation_split=0",
    )
    assert experiment_config(values) == tl.ExperimentConfig(
        dataset="fashion_mnist",
        data=tl.DataConfig(validation_split=0),
        model=tl.config("mlp", hidden=[8, 4]),
        optimizer=tl.config("nadam", learning_rate=0.01),
        schedule=tl.ScheduleConfig(
            schedules=["constant", tl.config("cosine_decay", alpha=0.5)], join_at=[100]
        ),
        monitors=tl.config("early_stop", patience=3),
        clipping=tl.config("clip_by_norm", clipnorm=1),
        metrics=["accuracy", "auc"],
        report=False,
        tensorboard=tl.TensorBoardConfig(steps=5),
    )


def test_a_flagfile_of_a_run_is_parsed_into_its_configuration(parse, tmp_path):
    config = tl.ExperimentConfig(
        model=tl.config("mlp", hidden=[8]), optimizer=tl.config("adam", epsilon=1e-3), epochs=3
    )
    (tmp_path / "flags.txt").write_text(config.to_flags())
    assert experiment_config(parse(f"--flagfile={tmp_path / 'flags.txt'}")) == config


def test_only_flags_that_were_given_are_passed_on(parse):
    values = parse("--epochs=10", "--hidden=8,4", "--nonorms", "--learning_rate=auto")
    expected = {"epochs": 10, "hidden": (8, 4), "norms": False, "learning_rate": "auto"}
    assert given_flags(values) == expected


@pytest.mark.parametrize(("kind", "name"), MEMBERS)
def test_the_defaults_of_a_function_written_as_flags_are_its_hyperparameters(kind, name, parse):
    """Given on the command line, every default is parsed into a value that equals it."""
    declared = hyperparameters(FUNCTIONS[kind][name])
    known = parse()
    prefix = f"{name}_" if kind == "monitors" else ""
    given = {}
    for h in declared.values():
        flag = next((f for f in (f"{kind}_{h.name}", f"{prefix}{h.name}") if f in known), None)
        is_axis_of_data = kind in ("loss", "metrics") and h.name == "axis"
        is_schedules_rate = kind == "schedule" and h.name.endswith("initial_learning_rate")
        if flag and h.default is not None and not is_axis_of_data and not is_schedules_rate:
            given[h.name] = flag, h.default
    if kind == "schedule":
        needed = {"decay_rate": 0.5, "power": 2.0, "step_size": 1, "hold_steps": 1}
        needed |= {"warmup_steps": 2, "first_decay_steps": 2, "maximal_learning_rate": 0.5}
        needed |= {"step_size_up": 2, "cooldown_steps": 2}
        needed |= {"boundaries": (1,), "values": (0.5, 0.25)}
        for h in declared.values():
            of_optimizer = name == "one_cycle" and h.name == "maximal_learning_rate"
            if h.required and h.name in needed and not of_optimizer:
                flag = next(f for f in (f"{kind}_{h.name}", h.name) if f in known)
                given[h.name] = flag, needed[h.name]
    if kind == "metrics":
        for h in declared.values():
            if h.required:
                flag = next(f for f in (f"{kind}_{h.name}", h.name) if f in known)
                given[h.name] = flag, 0.5
    choice = [f"--{name}"] if kind == "monitors" else [f"--{kind}={name}"]
    choice = [] if kind == "clipping" else choice
    arguments = [f"--{flag}={written(value)}" for flag, value in given.values()]
    if kind == "clipping" and not arguments:
        arguments = [f"--{next(iter(declared))}=2"]
        given = {next(iter(declared)): ("", 2.0)}
    config = experiment_config(parse(*choice, *arguments))
    found = config.schedule.schedules if kind == "schedule" else getattr(config, kind)
    (chosen,) = found if isinstance(found, tuple) else (found,)
    assert chosen.name == name
    for h, (_, default) in given.items():
        expected = tuple(default) if isinstance(default, list) else default
        found = chosen.hyperparameters[h]
        assert found == (str(expected) if h == "axis" else expected), h


def written(value):
    """A hyperparameter as a user writes it."""
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--epochs=ten", "flag --epochs=ten: 'ten' is not an integer"),
        ("--learning_rate=fast", "'fast' is neither a number nor 'auto'"),
        ("--norms=maybe", "'maybe' is neither true nor false"),
        ("--execution=fast", "--execution=fast: choose from auto, graph, xla, xla_update"),
        ("--epoch=3", "Unknown command line flag 'epoch'. Did you mean: epochs"),
    ],
)
def test_values_that_are_not_allowed_are_refused(argument, message, parse):
    with pytest.raises(flags.Error, match=re.escape(message)):
        parse(argument)


def test_the_groups_of_the_help_text_are_in_the_order_of_a_run(parse):
    titles = re.findall(r"^(\w+):$", help_text("about", parse()), re.MULTILINE)
    expected = "Data Model Transfer Pretraining Optimizer Schedule Monitors Regularizer Constraint "
    expected += "Clipping Loss Metrics Run Checkpoints Ensemble TensorBoard"
    assert titles == expected.split()


@pytest.mark.parametrize(
    "line",
    [
        "--epochs=INTEGER Passes over the training examples. Default: 10.",
        "--learning_rate=NUMBER|auto Learning rate, or auto: found by a range test",
        "--clipnorm=NUMBER Largest norm of each gradient tensor, above 0.",
        "--[no]report Write report.html into the run folder at the end",
        "Optimizer: name or module:function. Names: sgd, adagrad, rmsprop, adam, adamw",
    ],
)
def test_the_help_text_has_settings_with_their_defaults(line, parse):
    assert line in words(help_text("", parse()))


def test_the_help_text_leaves_hyperparameters_to_the_topics_and_names_them(parse):
    text = words(help_text("", parse(), function_topics()))
    for hidden in ("--beta_1", "--hidden=", "--early_stop_patience"):
        assert hidden not in text
    assert "--help=adam" in text
    assert "Write a hyperparameter by its name" in text


@pytest.mark.parametrize(
    ("topic", "lines"),
    [
        (
            "adam",
            [
                "--beta_1=NUMBER",
                ", in [0, 1). Default: 0.9.",
                "--[no]amsgrad",
                "Also --optimizer_epsilon.",
            ],
        ),
        ("mlp", ["--hidden=INTEGERS", "Default: 300,100."]),
        ("cosine_decay", ["--decay_steps=INTEGER", "Default: to the end of the run."]),
        ("early_stop", ["--early_stop_patience=INTEGER", "Default: 0."]),
        ("hinge", ["It has no hyperparameters."]),
        ("mean_squared_error", ["loss mean_squared_error", "metrics mean_squared_error"]),
    ],
)
def test_the_topic_of_a_function_shows_its_hyperparameters(topic, lines, parse):
    text = words(topic_text(topic, parse(), function_topics(), 100))
    for line in lines:
        assert line in text


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_function_has_a_topic(name, parse):
    text = topic_text(name, parse(), function_topics(), 80)
    assert text.startswith(f"optimizer {name}: ") and "--learning_rate=" in text


def test_the_topic_of_augment_lists_every_augmentation(parse):
    text = words(topic_text("augment", parse(), function_topics(), 80))
    for name, factory in AUGMENTATIONS.items():
        assert f"{name}={':'.join(hyperparameters(factory))}" in text
        assert words(factory.__doc__.partition("\n")[0]) in text
    assert "alpha: shape of the beta distribution of the shares, above 0; default: 0.2." in text

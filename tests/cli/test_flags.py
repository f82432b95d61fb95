"""The flags of `train` are the registry's hyperparameters, and say what they mean."""

from __future__ import annotations

import re

import pytest

from trainlib.cli.flags import GROUPS, check_choices, chosen, hyperparameter_flags, rate_argument
from trainlib.cli.help import help_text
from trainlib.registry import OPTIMIZERS, hyperparameters

MEMBERS = [(kind, name) for kind, table in GROUPS.items() for name in table]
FLAGS = [(kind, name) for kind in GROUPS for name in hyperparameter_flags(kind)]


def written(value):
    """A hyperparameter as a user writes it."""
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def flags_of(kind, name):
    """The hyperparameters of a member that flags hold."""
    found = hyperparameters(GROUPS[kind][name])
    own_rate = rate_argument(GROUPS[kind][name])
    return {n: h for n, h in found.items() if n in hyperparameter_flags(kind) and n != own_rate}


def choosing(kind, name):
    """The flag that chooses a member, where there is one."""
    return [] if kind == "clipping" or not name else [f"--{kind}={name}"]


def takes_text(kind, name, flag):
    """Whether a flag holds text of which its function makes something else."""
    return hyperparameters(GROUPS[kind][name])[flag].type == "axis"


@pytest.mark.parametrize(("kind", "name"), MEMBERS)
def test_every_hyperparameter_has_a_meaning_and_a_flag(kind, name, parse):
    values = parse()
    for hyperparameter in hyperparameters(GROUPS[kind][name]).values():
        assert re.fullmatch(r"\w.*[^.]", hyperparameter.help), hyperparameter
    for flag in flags_of(kind, name):
        assert values[flag].value is None


@pytest.mark.parametrize(("kind", "name"), MEMBERS)
def test_a_member_takes_its_own_defaults_written_as_flags(kind, name, parse):
    takes = {
        flag: hyperparameter.default
        for flag, hyperparameter in flags_of(kind, name).items()
        if hyperparameter.default is not None
    }
    known = parse()
    unshared = {flag: f"{kind}_{flag}" if f"{kind}_{flag}" in known else flag for flag in takes}
    given_flags = [f"--{unshared[flag]}={written(default)}" for flag, default in takes.items()]
    values = parse(*choosing(kind, name), *given_flags)
    given = chosen(values, kind, name)
    assert list(given) == [flag for flag in hyperparameter_flags(kind) if flag in takes]
    for flag, default in takes.items():
        if takes_text(kind, name, flag):
            assert given[flag] == written(default)
            continue
        expected = list(default) if isinstance(default, tuple) else default
        assert given[flag] == expected
        assert type(given[flag]) is type(expected)


def test_a_flag_of_several_kinds_holds_what_each_of_them_takes():
    types: dict[str, set[str]] = {}
    for kind, name in MEMBERS:
        for flag, hyperparameter in flags_of(kind, name).items():
            types.setdefault(flag, set()).add(hyperparameter.type)
    assert {flag: found for flag, found in types.items() if len(found) > 1} == {}


def test_hyperparameters_that_are_not_given_are_left_to_the_factory(parse):
    values = parse("--beta_1=0.5", "--clipnorm=2")
    assert chosen(values, "optimizer", "adam") == {"beta_1": 0.5}
    assert chosen(values, "clipping", "clip_by_norm") == {"clipnorm": 2.0}
    assert chosen(values, "loss", "huber") == {}
    assert chosen(values, "model", "of.ones:own") == {}


@pytest.mark.parametrize(
    ("kind", "name", "argument", "message"),
    [
        (
            "optimizer",
            "sgd",
            "--beta_1=0.5",
            "--beta_1 is not for optimizer sgd, which takes --learning_rate, --momentum, "
            "--nesterov, --weight_decay, --dampening, --velocity, --first_velocity, "
            "--decay_form, --convention; it is for "
            + ", ".join(n for n, f in OPTIMIZERS.items() if "beta_1" in hyperparameters(f)),
        ),
        (
            "schedule",
            "constant",
            "--alpha=0",
            "--alpha is not for schedule constant, which takes none; it is for cosine_decay, "
            "cosine_decay_restarts, warmup_stable_decay",
        ),
        (
            "model",
            "own.keras",
            "--hidden=3",
            "--hidden is not for model own.keras, which takes none; it is for mlp",
        ),
        ("regularizer", None, "--l1=0.1", "--l1 needs --regularizer=l1 or l1_l2"),
    ],
)
def test_a_hyperparameter_of_another_member_is_refused(kind, name, argument, message, parse):
    values = parse(*choosing(kind, name), argument)
    with pytest.raises(ValueError) as error:
        chosen(values, kind, name)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--delta=2", "--k=3"),
        ("--model=own.keras", "--clipnorm=1", "--clipping=0.1"),
        ("--model=of.ones:own", "--schedule=constant,cosine_decay", "--alpha=0.1"),
        ("--metrics=accuracy,auc", "--constraint=max_norm", "--max_value=2", "--warmup_steps=3"),
    ],
)
def test_what_may_be_chosen_passes(arguments, parse):
    check_choices(parse(*arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--metrics=accuracy,acuracy",), "^unknown metric 'acuracy': did you mean 'accuracy'"),
        (("--schedule=constant,cosine",), "^unknown schedule 'cosine': did you mean 'cosine_dec"),
        (("--loss=circle",), "^unknown loss 'circle': "),
        (("--model=own.keras", "--hidden=3"), "^--hidden is not for model own.keras, which takes"),
        (("--loss=poisson", "--delta=3"), "^--delta is not for loss poisson, which takes"),
        (("--max_value=2",), "^--max_value needs --constraint=max_norm or min_max_norm$"),
    ],
)
def test_what_cannot_be_chosen_is_refused(arguments, message, parse):
    with pytest.raises(ValueError, match=message):
        check_choices(parse(*arguments))


@pytest.mark.parametrize(("kind", "name"), FLAGS)
def test_help_lists_every_hyperparameter_with_its_meaning_and_takers(kind, name, parse):
    text = " ".join(help_text("", parse()).split())
    (about,) = re.findall(rf" --(?:{name}=\S+|\[no\]{name}) (.*?)(?= --|$)", text)
    for member, factory in GROUPS[kind].items():
        found = hyperparameters(factory).get(name)
        if found is not None:
            assert found.help in about
            assert re.search(rf"\b{member}\b", about)


@pytest.mark.parametrize(
    "line",
    [
        "--hidden=INTEGERS widths of the hidden layers, none for a linear model, at least 1 "
        "(mlp 300,100).",
        "--clipnorm=NUMBER largest norm of each gradient tensor, above 0 (clip_by_norm).",
        "decay rate of the running maximum, in [0, 1) (adamax, adamaxw 0.999).",
        "power_decay, polynomial_decay, cosine_decay, by default to the end of the run).",
        "adagrad, rmsprop 0.001 (torch 0.01)",
    ],
)
def test_help_groups_takers_by_meaning_and_default(line, parse):
    assert line in " ".join(help_text("", parse()).split())


def test_groups_of_help_are_in_the_order_of_a_run(parse):
    titles = re.findall(r"^(\w+):$", help_text("about", parse()), re.MULTILINE)
    expected = "Data Model Optimizer Schedule Performance Regularizer Constraint Clipping Loss "
    expected += "Metrics Run Checkpoints TensorBoard"
    assert titles == expected.split()

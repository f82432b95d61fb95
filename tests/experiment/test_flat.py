"""Configurations as flag files and as JSON, and back: nothing is lost."""

from __future__ import annotations

import dataclasses
import math
import re

import pytest
from helpers.examples import examples
from hypothesis import given, reject
from hypothesis import strategies as st

import trainlib as tl
from trainlib.core.checks import LARGEST_INTEGER, LARGEST_NUMBER
from trainlib.core.hyperparameters import Range
from trainlib.experiment.fields import plain_settings
from trainlib.experiment.flat import flatten, unflatten
from trainlib.experiment.functions import FUNCTIONS, LENGTHS, checked_function, takes, type_of
from trainlib.experiment.patterns import PATTERNS

TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), min_size=1
)
WORDS = TEXT.filter(lambda text: "," not in text)
NUMBERS = st.floats(allow_nan=False)
FINITE = {
    "int": st.integers(-LARGEST_INTEGER, LARGEST_INTEGER),
    "float": st.floats(-LARGEST_NUMBER, LARGEST_NUMBER),
}
BY_TYPE = {
    "bool": st.booleans(),
    "int": st.integers(-(2**40), 2**40),
    "float": NUMBERS,
    "str": TEXT,
    "ints": st.lists(st.integers(), max_size=3).map(tuple),
    "floats": st.lists(NUMBERS, max_size=3).map(tuple),
    "path": st.sampled_from(["data", "~/a b", "/x/../y", "/größe"]),
    "strs": st.lists(WORDS, max_size=3).map(tuple),
}


def plain_value(declared):
    """Draw a value that a setting may have."""
    if declared.flag == "augment":
        values = st.sampled_from(["flip", "rotation=0.1,mixup", "mine:function"])
    elif declared.flag in PATTERNS:
        values = st.sampled_from([".*", r"hidden_\d+/(kernel|bias)", "[^/]+"]) | TEXT.map(re.escape)
    elif declared.choices:
        values = st.sampled_from(declared.choices)
    elif declared.bounds:
        values = in_bounds(declared.bounds, declared.type)
    else:
        values = BY_TYPE[declared.type]
    return st.none() | values if declared.default is None else values


def value(hyperparameter):
    """Draw a value that a hyperparameter may have."""
    declared, kind = hyperparameter.declaration, type_of(hyperparameter)
    if declared.choices:
        return st.sampled_from(declared.choices)
    if kind not in ("int", "float", "ints", "floats"):
        return BY_TYPE[kind]
    bounds = {name: x for name, x in declared.range._asdict().items() if x is not None}
    one = in_bounds(bounds, kind.rstrip("s")) if bounds else FINITE[kind.rstrip("s")]
    return st.lists(one, max_size=3).map(tuple) if kind.endswith("s") else one


def in_bounds(bounds, kind):
    """Draw a number within bounds."""
    low = bounds.get("at_least", bounds.get("above", -100) + 1e-3)
    high = min(bounds.get("at_most", math.inf), bounds.get("below", low + 101) - 1e-3)
    return st.integers(math.ceil(low), int(high)) if kind == "int" else st.floats(low, high)


def narrowed(x, other):
    """Return a hyperparameter with the range that another of its name has too."""
    ranges = [y.declaration.range._asdict() for y in (x, other)]
    bounds = {
        name: pick((r[name] for r in ranges if r[name] is not None), default=None)
        for name, pick in (("at_least", max), ("above", max), ("at_most", min), ("below", min))
    }
    if bounds["above"] is not None and bounds["at_least"] is not None:
        bounds["at_least"] = None if bounds["above"] >= bounds["at_least"] else bounds["at_least"]
    return x._replace(declaration=x.declaration._replace(range=Range(**bounds)))


def hyperparameters(kind, names):
    """Draw hyperparameters of some functions: each has one value for all of them."""
    declared = {}
    for h, x in (item for name in names for item in takes(kind, name).items()):
        declared[h] = x if h not in declared else narrowed(x, declared[h])
    required = [
        h for name in names for h, x in takes(kind, name).items() if x.required and h not in LENGTHS
    ]
    chosen = st.lists(st.sampled_from(sorted(declared)), max_size=4) if declared else st.just([])
    return chosen.flatmap(
        lambda more: st.fixed_dictionaries({h: value(declared[h]) for h in {*required, *more}})
    )


def functions(kind, least, most):
    """Draw distinct functions of a kind."""
    names = st.lists(
        st.sampled_from(sorted(FUNCTIONS[kind])), min_size=least, max_size=most, unique=True
    )
    return names.flatmap(
        lambda names: hyperparameters(kind, names).map(
            lambda values: tuple(
                tl.FunctionConfig(n, {h: x for h, x in values.items() if h in takes(kind, n)})
                for n in names
            )
        )
    )


def one(kind):
    return functions(kind, 1, 1).map(lambda found: found[0])


def part(cls, **more):
    """Draw an instance of a dataclass of settings."""
    plain = {name: plain_value(declared) for name, declared in plain_settings(cls)}
    return st.fixed_dictionaries({**plain, **more}).map(lambda fields: cls(**fields))


@st.composite
def data_configs(draw):
    """Draw settings of the data that do not exclude each other."""
    more = {"image_size": st.sampled_from([None, "8x12"])}
    streamed, oversample = draw(st.booleans()), draw(st.booleans())
    more |= {"stream_pipeline": st.just(streamed), "oversample": st.just(oversample)}
    more |= {} if streamed else {"steps_per_epoch": st.none()}
    more |= {"class_weight": st.none()} if oversample else {}
    return draw(part(tl.DataConfig, **more))


NEEDS = {
    ("one_cycle", "pct_final"): lambda given: given.get("three_phase"),
    ("cyclic", "gamma"): lambda given: given.get("mode") == "exp_range",
    ("cosine_decay", "warmup_target"): lambda given: given.get("warmup_steps"),
    ("linear_warmup", "warmup_start"): lambda given: given.get("warmup_steps"),
}
"""Hyperparameters of schedules that are refused where they have no effect."""


def effective(schedules):
    """Leave out the hyperparameters that have no effect beside the others."""
    return tuple(
        tl.FunctionConfig(x.name, {h: v for h, v in x.hyperparameters.items() if has_effect(x, h)})
        for x in schedules
    )


def has_effect(schedule, name):
    needed = NEEDS.get((schedule.name, name))
    return needed is None or bool(needed(schedule.hyperparameters))


@st.composite
def schedules(draw):
    found = draw(functions("schedule", 1, 3).map(effective))
    takes_warmup = any("warmup_steps" in takes("schedule", x.name) for x in found)
    steps = draw(st.integers(1, 9))
    warmup = tl.config("linear_warmup", warmup_steps=steps)
    options = {
        "warmup": None if takes_warmup else draw(st.none() | st.just(warmup)),
        "join_at": draw(
            st.lists(st.integers(1, 9), min_size=len(found) - 1, max_size=len(found) - 1)
        ),
        "per_epoch": draw(st.booleans()),
    }
    try:
        return tl.ScheduleConfig(schedules=found, **options)
    except ValueError as error:
        assert "has no effect without" in str(error)
        reject()


@st.composite
def configs(draw):
    fields = draw(
        st.fixed_dictionaries(
            {
                **{n: plain_value(declared) for n, declared in plain_settings(tl.ExperimentConfig)},
                "data": data_configs(),
                "checkpoints": part(tl.CheckpointConfig),
                "tensorboard": st.none() | part(tl.TensorBoardConfig),
                "schedule": schedules(),
                "monitors": functions("monitors", 0, 2),
                "model": one("model"),
                "optimizer": one("optimizer"),
                "loss": one("loss") | st.just(tl.config("auto")),
                "metrics": functions("metrics", 0, 3) | st.just((tl.config("auto"),)),
                "clipping": st.none() | one("clipping").filter(lambda x: x.hyperparameters),
                "regularizer": st.none() | one("regularizer"),
                "constraint": st.none() | one("constraint"),
            }
        )
    )
    for function, pattern in (
        ("regularizer", "regularized_params"),
        ("constraint", "constrained_params"),
    ):
        if fields[function] is None:
            fields[pattern] = None
    schedule = fields["schedule"]
    if [x.name for x in schedule.schedules] != ["constant"] or schedule.warmup is not None:
        fields["monitors"] = tuple(x for x in fields["monitors"] if x.name != "reduce_on_plateau")
    peaks = ["maximal_learning_rate" in x.hyperparameters for x in schedule.schedules]
    if all(peaks) or any(x.name == "piecewise_constant" for x in schedule.schedules):
        options = dict(fields["optimizer"].hyperparameters)
        options.pop("learning_rate", None)
        fields["optimizer"] = tl.FunctionConfig(fields["optimizer"].name, options)
    return tl.ExperimentConfig(**fields)


@examples(3, 300)
@given(configs())
def test_nothing_is_lost_in_a_flag_file_in_json_and_in_the_flat_form(config):
    assert tl.ExperimentConfig.from_flags(config.to_flags()) == config
    assert tl.ExperimentConfig.from_json(config.to_json()) == config
    assert unflatten(tl.ExperimentConfig, flatten(config)) == config


def test_a_flag_file_has_one_flag_in_a_line():
    config = tl.ExperimentConfig(
        optimizer=tl.config("sgd", nesterov=False, momentum=0.5),
        model=tl.config("mlp", hidden=[8, 4]),
        norms=True,
    )
    lines = config.to_flags().splitlines()
    assert lines[0] == "--dataset=digits"
    assert {"--momentum=0.5", "--nonesterov", "--hidden=8,4", "--norms", "--notensorboard"} <= {
        *lines
    }
    assert not any(line.startswith(("--target", "--histogram_epochs")) for line in lines)


def test_a_flag_file_may_have_comments_and_leave_flags_out():
    text = "# the model\n--model=cnn\n\n// not more\n-epochs=3\n--report=false\n"
    expected = tl.ExperimentConfig(model="cnn", epochs=3, report=False)
    assert tl.ExperimentConfig.from_flags(text) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--epoch=3", "^unknown flag --epoch: did you mean --epochs[?]$"),
        ("--wxyz=3", "^unknown flag --wxyz; train --help lists the flags$"),
        ("--epochs=many", "^--epochs=many: 'many' is not an integer$"),
        ("--norms=maybe", "^--norms=maybe: 'maybe' is not true or false$"),
        ("--hidden=8,x", "^--hidden=8,x: '8,x' is not integers, comma-separated$"),
        ("--epochs", "^--epochs: a flag of this kind is written --epochs=VALUE$"),
        ("--tensorboard_dir=x", "^--tensorboard_dir needs --tensorboard$"),
        ("--early_stop_patience=3", "^--early_stop_patience needs --early_stop$"),
    ],
)
def test_lines_that_are_no_flags_are_refused(line, message):
    with pytest.raises(ValueError, match=message):
        tl.ExperimentConfig.from_flags(line)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "^Expecting"),
        ("3", "^configuration must be a JSON object, got 3$"),
        ('{"epoch": 3}', "^unknown setting of configuration 'epoch': did you mean 'epochs'"),
        ('{"data": {"targets": "x"}}', "^unknown setting of data 'targets': did you mean 'target'"),
        ('{"model": {"name": "mpl"}}', "^unknown model 'mpl': did you mean 'mlp'"),
    ],
)
def test_other_json_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        tl.ExperimentConfig.from_json(text)


def test_every_field_of_a_configuration_is_in_its_flat_form():
    """A field that a flag file would lose would make two configurations equal."""
    config = tl.ExperimentConfig()
    changed = {
        "dataset": "mnist",
        "data": tl.DataConfig(preprocess="none"),
        "model": "cnn",
        "from_logits": False,
        "imports": ("mine",),
        "code_path": "code",
        "safe_mode": False,
        "parameters": "net.npz",
        "optimizer": "sgd",
        "param_rules": "a:freeze",
        "gradient_accumulation_steps": 2,
        "lazy_embeddings": True,
        "gradient_checkpointing": True,
        "schedule": "cosine_decay",
        "monitors": "early_stop",
        "regularizer": "l2",
        "constraint": "non_neg",
        "clipping": "adaptive_clip",
        "loss": "huber",
        "output_losses": ("aux=huber",),
        "loss_weights": ("aux=0.1",),
        "metrics": "auc",
        "epochs": 11,
        "batch_size": 33,
        "seed": 1,
        "precision": "float64",
        "execution": "xla",
        "strategy": "mirrored",
        "replicas": 2,
        "nonfinite": "skip",
        "norms": True,
        "worker_timeout": 1.0,
        "callbacks": ("a:b",),
        "report": False,
        "calibrate": True,
        "validation_ratio": True,
        "checkpoints": tl.CheckpointConfig(keep=9),
        "ensemble": tl.EnsembleConfig(members=3),
        "weight_average": tl.AverageConfig(kind="ema"),
        "transfer": tl.TransferConfig(freeze="a.*", unfreeze_at="b@1"),
        "pretrain": tl.PretrainConfig(method="masked", mask=0.5),
        "tensorboard": tl.TensorBoardConfig(),
    }
    patterns = {"regularized_params", "constrained_params"}  # they need a function
    assert {f.name for f in dataclasses.fields(config)} == {*changed, *patterns}
    for name, value in changed.items():
        assert flatten(dataclasses.replace(config, **{name: value})) != flatten(config), name


def test_functions_are_checked_against_the_registry():
    assert (
        checked_function("optimizer", tl.config("adam", beta_1=0)).hyperparameters["beta_1"] == 0.0
    )

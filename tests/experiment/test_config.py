"""Configurations never change, take plain names, and are checked when they are made."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest

import trainlib as tl

FULL = tl.ExperimentConfig(
    dataset="fashion_mnist",
    data=tl.DataConfig(train_examples=100),
    model="cnn",
    optimizer=tl.config("nadam", learning_rate=1e-3),
    schedule=tl.ScheduleConfig(
        schedules=["constant", tl.config("cosine_decay", alpha=0.5)], join_at=[10]
    ),
    monitors="early_stop",
    metrics=["accuracy", tl.config("auc", num_thresholds=50)],
    tensorboard=tl.TensorBoardConfig(steps=5),
)


def test_a_function_is_given_by_its_name_or_with_hyperparameters():
    config = tl.ExperimentConfig(model="cnn", optimizer=tl.config("sgd", momentum=0.9))
    assert config.model == tl.config("cnn")
    assert config.optimizer.name == "sgd"
    assert dict(config.optimizer.hyperparameters) == {"momentum": 0.9}


def test_a_schedule_alone_makes_a_schedule_configuration():
    by_name, by_config = (
        tl.ExperimentConfig(schedule=x) for x in ("cosine_decay", tl.config("cosine_decay"))
    )
    assert by_name.schedule == by_config.schedule == tl.ScheduleConfig(schedules="cosine_decay")


@pytest.mark.parametrize("part", [FULL, FULL.data, FULL.schedule, FULL.checkpoints, FULL.optimizer])
def test_no_field_can_be_assigned(part):
    for field in dataclasses.fields(part):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, field.name, None)


def test_hyperparameters_cannot_be_assigned_and_are_no_longer_those_of_the_caller():
    given = {"hidden": [8, 4]}
    model = tl.FunctionConfig("mlp", given)
    given["hidden"].append(2)
    given["dropout"] = 0.5
    assert dict(model.hyperparameters) == {"hidden": (8, 4)}
    with pytest.raises(TypeError):
        model.hyperparameters["hidden"] = (1,)


def test_a_variation_leaves_the_original_as_it_is():
    before = copy.deepcopy(FULL)
    other = dataclasses.replace(FULL, epochs=99, optimizer="sgd")
    assert (other.epochs, other.optimizer.name) == (99, "sgd")
    assert before == FULL != other


def test_configurations_are_values():
    again = pickle.loads(pickle.dumps(FULL))
    assert again == FULL and hash(again) == hash(FULL) and again is not FULL


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("learning_rate", 1, 1.0),
        ("learning_rate", np.float32(0.5), 0.5),
        ("learning_rate", "auto", "auto"),
        ("momentum", np.int64(0), 0.0),
        ("nesterov", np.bool_(False), False),
    ],
)
def test_hyperparameters_have_their_declared_types(name, value, expected):
    found = tl.ExperimentConfig(optimizer=tl.config("sgd", **{name: value}))
    value = found.optimizer.hyperparameters[name]
    assert value == expected and type(value) is type(expected)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "^epochs must be at least 1, got 0$"),
        ({"epochs": 2.5}, TypeError, "^epochs must be an integer, got 2.5$"),
        ({"epochs": True}, TypeError, "^epochs must be an integer, got True$"),
        ({"seed": 2**32}, ValueError, "^seed must be at least 0 and at most 4294967295, got 42"),
        ({"precision": "half"}, ValueError, "^unknown precision 'half'"),
        ({"dataset": "a\nb"}, ValueError, "^dataset must be on one line"),
        ({"callbacks": ["a,b"]}, ValueError, "^callbacks must hold words without commas"),
        ({"callbacks": "a:b"}, TypeError, "^callbacks must be a sequence of words, got 'a:b'$"),
        ({"model": "mpl"}, ValueError, "^unknown model 'mpl': did you mean 'mlp'"),
        ({"model": None}, TypeError, r"^model must be a name or tl.config\(name, ...\), got None"),
        ({"optimizer": tl.config("adam", momentum=1)}, ValueError, "^momentum is not for optim"),
        (
            {"optimizer": tl.config("sgd", momentum="x")},
            TypeError,
            "^momentum must be a number",
        ),
        ({"optimizer": tl.config("sgd", learning_rate=abs)}, TypeError, "^learning_rate must be a"),
        (
            {"model": tl.config("mlp", hidden=8)},
            TypeError,
            "^hidden must be a sequence of int",
        ),
        ({"schedule": "exponential_decay"}, ValueError, r"^schedule exp.* needs decay_rate$"),
        ({"schedule": ["constant", "constant"]}, ValueError, "^join_at must hold the step at wh"),
        ({"schedule": []}, ValueError, "^schedule must hold at least one schedule"),
        ({"clipping": "clip_by_norm"}, ValueError, r"^clipping clip_by_norm needs clipnorm$"),
        ({"monitors": ["early_stop"] * 2}, ValueError, "^monitors must hold early_stop once"),
        ({"metrics": ["auto", "auc"]}, ValueError, "^metrics must be auto alone or names"),
        ({"regularized_params": ".*"}, ValueError, "^regularized_params needs a regularizer$"),
        ({"data": {"target": "x"}}, TypeError, "^data must be a DataConfig, got {'target': 'x'}$"),
        ({"tensorboard": True}, TypeError, "^tensorboard must be a TensorBoardConfig, got True$"),
        ({"ensemble": 5}, TypeError, "^ensemble must be an EnsembleConfig, got 5$"),
        ({"pretrain": "masked"}, TypeError, "^pretrain must be a PretrainConfig, got 'masked'$"),
        (
            {"monitors": "reduce_on_plateau", "schedule": "cosine_decay"},
            ValueError,
            "^reduce_on_plateau changes a constant learning rate",
        ),
    ],
)
def test_invalid_settings_are_refused_by_name(settings, error, message):
    with pytest.raises(error, match=message):
        tl.ExperimentConfig(**settings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tl.DataConfig(validation_split=1), "^validation_split must be at least 0 and bel"),
        (lambda: tl.CheckpointConfig(steps=0), "^checkpoint_steps must be at least 1, got 0$"),
        (lambda: tl.CheckpointConfig(keep=0), "^keep_checkpoints must be at least 1, got 0$"),
        (lambda: tl.TensorBoardConfig(histogram_epochs=-1), "^histogram_epochs must be at least 0"),
        (
            lambda: tl.ScheduleConfig(
                schedules="cosine_decay", warmup=tl.config("linear_warmup", warmup_steps=3)
            ),
            r"^schedule.warmup: schedule cosine_decay takes warmup_steps itself",
        ),
        (lambda: tl.ScheduleConfig(warmup="linear_warmup"), "^schedule.warmup must be tl.config"),
        (
            lambda: tl.ScheduleConfig(
                schedules=[tl.config("cosine_decay", alpha=a) for a in (0.1, 0.2)], join_at=[5]
            ),
            r"^schedule: cosine_decay and cosine_decay both take alpha and must have",
        ),
    ],
)
def test_invalid_parts_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_norms_are_reported_with_tensorboard_unless_the_configuration_says_otherwise():
    tensorboard = tl.TensorBoardConfig()
    assert not tl.ExperimentConfig().reports_norms
    assert tl.ExperimentConfig(tensorboard=tensorboard).reports_norms
    assert not tl.ExperimentConfig(tensorboard=tensorboard, norms=False).reports_norms
    assert tl.ExperimentConfig(norms=True).reports_norms


def test_a_schedule_without_a_length_follows_that_of_the_run():
    expected = {
        "constant": False,
        "cosine_decay": True,
        tl.config("cosine_decay", decay_steps=5): False,
        tl.config("one_cycle"): True,
    }
    found = {name: tl.ScheduleConfig(schedules=name).follows_run_length for name in expected}
    assert found == expected


def test_a_configuration_is_shown_as_the_call_that_makes_it():
    config = tl.ExperimentConfig(model="cnn", data=tl.DataConfig(train_examples=9))
    text = "ExperimentConfig(data=DataConfig(train_examples=9), model=config('cnn'))"
    assert repr(config) == text
    assert repr(tl.ExperimentConfig()) == "ExperimentConfig()"

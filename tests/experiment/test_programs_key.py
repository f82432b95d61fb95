"""Experiments share programs if and only if they differ in values; every setting is classified."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainlib as tl
from trainlib.data.examples import pick
from trainlib.experiment import programs_key as keys
from trainlib.experiment.model_building import build_models
from trainlib.experiment.task import Task
from trainlib.experiment.task_building import build_task

CONFIG = tl.ExperimentConfig(
    data=tl.DataConfig(train_examples=64),
    model=tl.config("mlp", hidden=[4], dropout=0.2),
    optimizer=tl.config("sgd", learning_rate=0.1, momentum=0.9),
    clipping=tl.config("clip_by_global_norm", global_clipnorm=1.0),
    regularizer=tl.config("l2", l2=1e-3),
)


@pytest.fixture(scope="module")
def task() -> Task:
    return build_task(CONFIG)


def key(config: tl.ExperimentConfig, task: Task) -> str | None:
    return keys.programs_key(config, task, build_models(config, task))


@pytest.fixture(scope="module")
def known(task: Task) -> str | None:
    return key(CONFIG, task)


VALUES: dict[str, dict[str, Any]] = {
    "learning rate": {"optimizer": tl.config("sgd", learning_rate=0.2, momentum=0.9)},
    "default learning rate": {"optimizer": tl.config("sgd", momentum=0.5)},
    "dropout rate": {"model": tl.config("mlp", hidden=[4], dropout=0.5)},
    "initializer": {"model": tl.config("mlp", hidden=[4], dropout=0.2, initializer="orthogonal")},
    "bound of clipping": {"clipping": tl.config("clip_by_global_norm", global_clipnorm=2.0)},
    "factor of the penalty": {"regularizer": tl.config("l2", l2=0.5)},
    "seed": {"seed": 7},
    "epochs": {"epochs": 3},
    "class weights": {"data": tl.DataConfig(train_examples=64, class_weight="balanced")},
    "monitors": {"monitors": [tl.config("early_stop", patience=2)]},
}
OTHERS: dict[str, dict[str, Any]] = {
    "units": {"model": tl.config("mlp", hidden=[5], dropout=0.2)},
    "no dropout": {"model": tl.config("mlp", hidden=[4])},
    "activation": {"model": tl.config("mlp", hidden=[4], dropout=0.2, activation="tanh")},
    "optimizer": {"optimizer": tl.config("adam", learning_rate=0.1)},
    "nesterov": {"optimizer": tl.config("sgd", momentum=0.9, nesterov=True)},
    "no momentum": {"optimizer": tl.config("sgd", learning_rate=0.1)},
    "kind of penalty": {"regularizer": tl.config("l1", l1=1e-3)},
    "penalized parameters": {"regularized_params": ".*"},
    "kind of clipping": {"clipping": tl.config("clip_by_norm", clipnorm=1.0)},
    "schedule": {"schedule": tl.config("cosine_decay")},
    "rate in the state": {"monitors": ["reduce_on_plateau"]},
    "loss": {"loss": "squared_hinge"},
    "metrics": {"metrics": ["accuracy", "f1_score"]},
    "constraint": {"constraint": tl.config("max_norm", max_value=2.0)},
    "precision": {"precision": "float64"},
    "execution": {"execution": "graph"},
    "nonfinite": {"nonfinite": "skip"},
    "norms": {"norms": True},
    "batch size": {"batch_size": 16},
    "lazy embeddings": {"lazy_embeddings": True},
    "gradient checkpointing": {"gradient_checkpointing": True},
    "accumulated gradients": {"gradient_accumulation_steps": 2},
    "average": {"weight_average": tl.AverageConfig(kind="ema")},
    "rules by path": {"param_rules": ".*bias:weight_decay=0"},
}


@pytest.mark.parametrize("change", VALUES.values(), ids=VALUES)
def test_experiments_that_differ_in_values_have_one_key(
    change: dict[str, Any], task: Task, known: str
) -> None:
    assert known is not None and key(dataclasses.replace(CONFIG, **change), task) == known


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_experiments_that_differ_in_their_programs_have_other_keys(
    change: dict[str, Any], task: Task, known: str
) -> None:
    assert key(dataclasses.replace(CONFIG, **change), task) != known


def test_schedules_of_one_length_share_a_key(task: Task) -> None:
    found = {
        key(dataclasses.replace(CONFIG, schedule=schedule, epochs=epochs), task)
        for schedule in ("cosine_decay", tl.config("exponential_decay", decay_rate=0.5))
        for epochs in (9, 10)  # 2 batches each: tables of 32 rates
    }
    assert len(found) == 1


def test_folds_of_a_table_share_a_key_although_their_means_differ(data_dir: Path) -> None:
    config = tl.ExperimentConfig(
        dataset="california_housing",
        data=tl.DataConfig(data_dir=str(data_dir)),
        model=tl.config("mlp", hidden=[2]),
    )
    task = build_task(config)
    rows = np.arange(task.train.size)
    folds = [task._replace(train=pick(task.train, part)) for part in (rows[:99], rows[99:])]
    assert len({key(config, fold) for fold in folds}) == 1


def test_models_with_custom_layers_have_no_key(task: Task) -> None:
    import keras

    class Own(keras.layers.Dense):
        pass

    built = build_models(CONFIG, task)
    own = keras.Sequential([keras.Input((64,)), Own(10, name="own")])
    assert keys.programs_key(CONFIG, task, built._replace(trained=own)) is None


def test_the_epochs_are_in_the_key_where_they_decide_what_is_averaged(task: Task) -> None:
    of_swa = dataclasses.replace(CONFIG, weight_average=tl.AverageConfig(kind="swa"))
    assert key(of_swa, task) != key(dataclasses.replace(of_swa, epochs=20), task)


def test_each_setting_is_in_the_key_or_listed_as_none_of_the_programs() -> None:
    names = {field.name for field in dataclasses.fields(tl.ExperimentConfig)}
    assert keys.NOT_IN_KEY <= names
    # A new setting is in the key. Before it is listed, show above that programs do not contain it.
    assert names - keys.NOT_IN_KEY == {
        *("imports", "code_path", "param_rules", "gradient_accumulation_steps", "loss", "metrics"),
        *("regularized_params", "constraint", "constrained_params", "output_losses"),
        *("loss_weights", "batch_size", "precision", "execution", "strategy", "replicas"),
        *("nonfinite", "weight_average", "lazy_embeddings", "gradient_checkpointing"),
    }
    # All settings of the data act on arrays, but `augment`, which is in the key.
    assert {field.name for field in dataclasses.fields(tl.DataConfig)} == {
        *("data_dir", "target", "task", "train_examples", "validation_split", "preprocess"),
        *("class_weight", "sample_weight_column", "oversample", "stratify", "image_size"),
        *("color_mode", "augment", "split_seed", "group_column", "stream_pipeline"),
        *("steps_per_epoch", "input_columns"),
    }


def test_rates_of_stochastic_depth_are_in_the_key(task: Task) -> None:
    def of_rate(rate: float) -> str | None:
        options = {"depth": 3, "width": 4, "residual": 2, "dropout_kind": "stochastic_depth"}
        model = tl.config("mlp", dropout=rate, **options)
        return key(dataclasses.replace(CONFIG, model=model), task)

    assert None not in (of_rate(0.2), of_rate(0.5)) and of_rate(0.2) != of_rate(0.5)

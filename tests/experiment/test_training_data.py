"""The training data of a task: weights of examples and of classes."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.experiments import experiment

from trainlib.experiment.task import held_out
from trainlib.experiment.task_building import build_task
from trainlib.experiment.training_data import training_data


def test_a_column_holds_the_weights_of_the_training_examples(table):
    flags = (table("a", "w", "class"), "--sample_weight_column=w", "--validation_split=0.25")
    config = experiment(*flags)
    task = build_task(config)
    assert task.dataset.feature_names == ("a",)
    x, y, weights = training_data(config, task)
    np.testing.assert_allclose(weights, 1 + task.train.x[:, 0] ** 2, rtol=1e-5)
    assert held_out(task)[0].shape == (8, 1)
    config = experiment(*flags, "--class_weight=1:3")
    both = training_data(config, build_task(config))[2]
    np.testing.assert_allclose(both, weights * np.where(y == 1, 3, 1), rtol=1e-6)


def test_weights_that_are_none_are_refused(table):
    flag = table("a", "b", "price")
    for name, message in [
        ("c", "own.csv has no column 'c'"),
        ("price", "'price', the column to predict"),
        ("b", "column 'b': the weight -.* is below 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            build_task(experiment(flag, f"--sample_weight_column={name}"))
    with pytest.raises(ValueError, match="sample_weight_column is 'w', but only a table"):
        build_task(experiment("--dataset=digits", "--sample_weight_column=w"))


def test_weights_of_classes_may_name_them(tmp_path):
    names = ["low", "high:er", "low", "2"] * 5
    rows = "".join(f"{k % 3},{name}\n" for k, name in enumerate(names))
    (tmp_path / "t.csv").write_text("a,y\n" + rows)
    config = experiment(f"--dataset={tmp_path / 't.csv'}", "--class_weight=high:er:3,2:0.5")
    task = build_task(config)
    assert task.dataset.class_names == ("2", "high:er", "low")
    _, y, weights = training_data(config, task)
    assert (weights == np.array([0.5, 3, 1], np.float32)[y]).all()


@pytest.mark.parametrize(("names", "unknown"), [("13", "0"), ("ab", "c")])
def test_weights_of_unknown_classes_are_refused(tmp_path, names, unknown):
    rows = "".join(f"{k % 3},{names[k % 2]}\n" for k in range(20))
    (tmp_path / "t.csv").write_text("a,y\n" + rows)
    config = experiment(f"--dataset={tmp_path / 't.csv'}", f"--class_weight={unknown}:2")
    with pytest.raises(ValueError, match=f"^class_weight: t.csv has no class '{unknown}'; its cl"):
        training_data(config, build_task(config))


def test_examples_have_the_weights_of_their_classes_and_balanced_classes_weigh_the_same():
    config = experiment("--class_weight=3:2.5,0:0")
    task = build_task(config)
    _, y, weights = training_data(config, task)
    assert (weights == np.where(y == 3, 2.5, np.where(y == 0, 0, 1))).all()
    config = experiment("--class_weight=balanced", "--loss=categorical_crossentropy")
    _, y, weights = training_data(config, build_task(config))
    by_class = y.T @ weights
    np.testing.assert_allclose(by_class, by_class.mean(), rtol=1e-5)
    assert weights.sum() == pytest.approx(len(y), rel=1e-5)
    assert len(training_data(experiment(), task)) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10:1", "^a class of class_weight must be at least 0 and at most 9, got 10$"),
        ("1", "^class_weight must be balanced or comma-separated class:weight"),
        ("1:-1", "^the weight of class 1 must be at least 0, got -1.0$"),
    ],
)
def test_invalid_class_weights_are_refused(text, message):
    config = experiment(f"--class_weight={text}")
    with pytest.raises(ValueError, match=message):
        training_data(config, build_task(config))


def test_class_weights_are_refused_where_numbers_are_predicted():
    config = experiment("--class_weight=balanced", "--loss=huber")
    with pytest.raises(ValueError, match="^class_weight is for classes; loss huber predicts num"):
        training_data(config, build_task(config))

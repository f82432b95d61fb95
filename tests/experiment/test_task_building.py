"""The task of a configuration: its loss, targets, metrics and parts."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.experiments import experiment

from trainlib.experiment.functions import FUNCTIONS
from trainlib.experiment.targets import ONE_HOT, target_of
from trainlib.experiment.task_building import build_task


@pytest.mark.parametrize("loss", [*FUNCTIONS["loss"], "auto"])
def test_targets_metrics_and_outputs_suit_the_loss(loss):
    task = build_task(experiment(f"--loss={loss}"))
    settled = "sparse_categorical_crossentropy" if loss == "auto" else loss
    assert (task.loss, task.target) == (settled, target_of(settled))
    labels = task.dataset.test.y
    if task.target.form == ONE_HOT:
        assert task.test.y.shape == (359, 10)
        assert (task.test.y.argmax(1) == labels).all() and (task.test.y.sum(1) == 1).all()
    else:
        assert (task.test.y == labels).all()
    if task.target.by_class:
        assert (task.outputs, task.metrics) == (10, ("accuracy",))
    else:
        assert task.test.y.dtype == np.float32
        assert task.outputs == 1
        others = [name for name in ("mean_squared_error", "mean_absolute_error") if name != loss]
        assert task.metrics == tuple(others)


def test_a_loss_with_a_penalty_is_a_metric_too():
    task = build_task(experiment("--loss=mean_squared_error", "--regularizer=l2"))
    assert task.metrics == ("mean_squared_error", "mean_absolute_error")


@pytest.mark.parametrize(
    ("arguments", "sizes"),
    [
        ((), (1294, 144)),
        (("--validation_split=0",), (1438, None)),
        (("--train_examples=100", "--validation_split=0.25"), (75, 25)),
    ],
)
def test_the_parts_have_the_requested_sizes(arguments, sizes):
    task = build_task(experiment(*arguments))
    assert task.train.size == sizes[0]
    assert (task.validation and task.validation.size) == sizes[1]
    assert task.test.size == 359


def test_the_validation_part_depends_on_the_seed_only():
    first, again, other = (
        build_task(experiment(f"--seed={seed}")).validation.x for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_a_loss_for_classes_is_refused_where_numbers_are_predicted(table):
    flag = table("a", "b", "price")
    with pytest.raises(ValueError, match="column 'price' holds .* but classes are text or int"):
        build_task(experiment(flag, "--loss=sparse_categorical_crossentropy"))


def test_a_table_of_classes_is_split_with_the_same_share_of_each(table):
    task = build_task(experiment(table("a", "b", "class"), "--validation_split=0.25"))
    counts = [np.bincount(part.y) for part in (task.train, task.validation, task.test)]
    assert [count.tolist() for count in counts] == [[8, 8, 8], [3, 3, 2], [3, 2, 3]]
    flags = ("--validation_split=0.25", "--stratify=no")
    drawn = build_task(experiment(table("a", "b", "class"), *flags))
    assert drawn.validation.x.tolist() != task.validation.x.tolist()


def test_other_data_are_split_by_class_if_asked_for():
    flags = ("--train_examples=200", "--validation_split=0.1")
    task = build_task(experiment("--dataset=digits", *flags, "--stratify=yes"))
    share = np.bincount(task.train.y) / np.bincount(np.r_[task.train.y, task.validation.y])
    assert (abs(share - 0.9) < 0.06).all()
    drawn = build_task(experiment("--dataset=digits", *flags))
    assert np.bincount(drawn.validation.y).tolist() != np.bincount(task.validation.y).tolist()


def test_rarer_classes_are_repeated_in_the_training_part_only(table):
    task = build_task(experiment(table("a", "b", "class"), "--oversample", "--train_examples=20"))
    plain = build_task(experiment(table("a", "b", "class"), "--train_examples=20"))
    assert len(set(np.bincount(task.train.y))) == 1
    assert {*map(tuple, task.train.x)} == {*map(tuple, plain.train.x)}
    assert (task.validation.x == plain.validation.x).all()
    assert task.dataset.notes[-1] == f"oversampled: {task.train.size} training examples from 18"
    with pytest.raises(ValueError, match="oversample is for classes"):
        build_task(experiment(table("a", "b", "price"), "--oversample"))
    with pytest.raises(ValueError, match="^oversample and class_weight both"):
        experiment("--oversample", "--class_weight=balanced")


def test_numbers_cannot_be_split_by_class(table):
    with pytest.raises(ValueError, match="^stratify=yes is for classes, but the targets are numb"):
        build_task(experiment(table("a", "b", "price"), "--stratify=yes"))

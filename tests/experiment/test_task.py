"""The data of a configuration, split into parts."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.experiments import experiment

from trainlib.experiment.functions import FUNCTIONS
from trainlib.experiment.targets import ONE_HOT, target_of
from trainlib.experiment.task import build_task, training_data


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--validation_split=1",), "^validation_split must be at least 0 and below 1, got 1.0$"),
        (("--validation_split=-0.1",), "^validation_split must be at least 0"),
        (("--train_examples=4", "--validation_split=0.1"), "^validation_split 0.1 keeps 0 of 4 "),
        (("--train_examples=4", "--validation_split=0.9"), "^validation_split 0.9 keeps 4 of 4 "),
        (("--train_examples=0",), "^train_examples must be at least 1, got 0$"),
        (("--train_examples=1439",), "^train_examples must be .* at most 1438, got 1439$"),
        (("--loss=hubr",), "^unknown loss 'hubr': did you mean 'huber'"),
        (("--dataset=digit",), "^unknown data set 'digit' .did you mean 'digits'"),
    ],
)
def test_data_that_do_not_exist_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_task(experiment(*arguments))


def test_a_loss_for_classes_is_refused_where_numbers_are_predicted(table):
    flag = table("a", "b", "price")
    with pytest.raises(ValueError, match="^loss .* is for classes, but own.csv has numbers to"):
        build_task(experiment(flag, "--loss=sparse_categorical_crossentropy"))


def test_columns_are_selected_in_the_order_of_the_model(table):
    config = experiment(table("a", "class", "b", "price"), "--target=class")
    plain = build_task(config)
    assert plain.dataset.feature_names == ("a", "b", "price")
    ordered = build_task(config, ("b", "a"))
    assert ordered.dataset.feature_names == ("b", "a")
    for part in ("train", "validation", "test"):
        assert (getattr(ordered, part).x == getattr(plain, part).x[:, [1, 0]]).all()
        assert (getattr(ordered, part).y == getattr(plain, part).y).all()
    with pytest.raises(ValueError, match="^own.csv has no column 'c'; the model takes c, a$"):
        build_task(config, ("c", "a"))


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

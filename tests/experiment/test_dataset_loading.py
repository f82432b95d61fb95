"""The data set of a configuration: where it comes from, its rules, its dtype and its task."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.experiments import ROWS, experiment

from trainlib.data.preprocessing import write_preprocessing
from trainlib.experiment.task_building import build_task

HALF = ("--validation_split=0.5", "--stratify=no")
FLOATS = (np.float32, np.float64)
OUTSIDE_TEST = np.sort(np.random.default_rng(0).permutation(40)[:32])
TRAINED = np.sort(np.random.default_rng(0).permutation(20)[:10])


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


def test_the_rules_of_a_table_are_fitted_to_the_examples_that_are_trained_on(table):
    flag = table("a", "b", "class")
    task = build_task(experiment(flag, "--train_examples=20", *HALF))
    assert (task.train.size, task.validation.size) == (10, 10)
    medians = [column.median for column in task.dataset.preprocessing.columns]
    assert medians == np.median(ROWS[OUTSIDE_TEST[:20][TRAINED]], 0).tolist()


def test_the_rules_of_a_run_are_applied_to_further_data(table):
    rules = build_task(experiment(table("b", "a", "class"))).dataset.preprocessing
    flag = table("a", "class", "b")
    task = build_task(experiment(flag, "--target=class"), rules)
    assert task.dataset.feature_names == ("b", "a")
    plain = build_task(experiment(flag, "--target=class"))
    assert (task.test.x == plain.test.x[:, [1, 0]]).all() and (task.test.y == plain.test.y).all()
    with pytest.raises(ValueError, match="own.csv has no column 'b'; the model takes b, a$"):
        build_task(experiment(table("a", "class")), rules)


def test_a_model_brings_the_rules_beside_its_file(table, tmp_path):
    rules = build_task(experiment(table("b", "a", "class"))).dataset.preprocessing
    write_preprocessing(tmp_path, rules)
    flags = (table("a", "class", "b", "price"), f"--model={tmp_path / 'model.keras'}")
    assert build_task(experiment(*flags, "--target=class")).dataset.preprocessing == rules
    numbers = build_task(experiment(*flags, "--target=price")).dataset.preprocessing
    assert (numbers.columns, numbers.target) == (rules.columns, "price")
    assert numbers.classes == ()
    with pytest.raises(ValueError, match="'a' is to be predicted, but it is an input of the mod"):
        build_task(experiment(*flags, "--target=a"))


@pytest.mark.parametrize(
    ("flags", "loss", "dtype"),
    [
        ((), "sparse_categorical_crossentropy", np.int32),
        (("--task=regression",), "mean_squared_error", np.float32),
        (("--loss=poisson",), "poisson", np.float32),
        (("--loss=hinge",), "hinge", np.float32),
        (("--loss=huber", "--precision=float64"), "huber", np.float64),
    ],
)
def test_the_loss_or_the_task_decides_what_integers_are(flags, loss, dtype, table):
    task = build_task(experiment(table("a", "class"), *flags))
    assert (task.loss, task.test.y.dtype) == (loss, dtype)
    assert task.outputs == (1 if dtype in FLOATS and loss != "hinge" else 3)
    assert bool(task.dataset.guess) == (not flags)


def test_float64_data_are_read_in_float64(table, dataset):
    third = ROWS + 1 / 3
    for flag in (table("a", "b", "price"), dataset(x=third, y=third[:, 0])):
        task = build_task(experiment(flag, "--precision=float64"))
        assert task.train.x.dtype == task.test.y.dtype == np.float64
    assert np.isin(task.train.x, third).all()
    assert build_task(experiment(flag)).train.x.dtype == np.float32


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--task=regression", "--loss=hinge"), "^task is regression, but loss hinge is for clas"),
        (("--dataset=california_housing", "--task=classification"), "has numbers to predict$"),
    ],
)
def test_a_task_that_contradicts_the_loss_or_the_data_is_refused(flags, message, data_dir):
    with pytest.raises(ValueError, match=message):
        build_task(experiment(*flags, f"--data_dir={data_dir}"))

"""The data of a configuration, split into parts."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.experiments import ROWS, experiment

from trainlib.data.preprocessing import write_preprocessing
from trainlib.experiment.functions import FUNCTIONS
from trainlib.experiment.targets import ONE_HOT, target_of
from trainlib.experiment.task import build_task, held_out, training_data


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
    with pytest.raises(ValueError, match="column 'price' holds .* but classes are text or int"):
        build_task(experiment(flag, "--loss=sparse_categorical_crossentropy"))


HALF = ("--validation_split=0.5", "--stratify=no")


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


def test_numbers_cannot_be_split_by_class(table):
    with pytest.raises(ValueError, match="^stratify=yes is for classes, but the targets are numb"):
        build_task(experiment(table("a", "b", "price"), "--stratify=yes"))


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


FLOATS = (np.float32, np.float64)
OUTSIDE_TEST = np.sort(np.random.default_rng(0).permutation(40)[:32])
TRAINED = np.sort(np.random.default_rng(0).permutation(20)[:10])


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

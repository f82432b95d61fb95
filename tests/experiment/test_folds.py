"""Folds: which examples they hold out, and that nothing is fitted to these."""

from __future__ import annotations

import collections
import dataclasses
import sys

import numpy as np
import pytest
from helpers.experiments import write_table

import trainlib as tl
from trainlib.experiment.folds import Fold, fold_task, split_folds, whole_task
from trainlib.experiment.model_building import build_models
from trainlib.experiment.task import PARTS
from trainlib.experiment.task_building import build_task

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
RNG = np.random.default_rng(0)


@pytest.fixture
def archive(tmp_path):
    """The configuration of 30 training and 10 test examples, whose first column is a number."""
    x = RNG.normal(size=(40, 3)).astype("float32")
    x[:, 0] = np.arange(40)
    y = np.arange(40) % 3
    np.savez(tmp_path / "a.npz", x_train=x[:30], y_train=y[:30], x_test=x[30:], y_test=y[30:])
    return tl.ExperimentConfig(
        dataset=str(tmp_path / "a.npz"), data=tl.DataConfig(validation_split=0.25)
    )


@pytest.fixture
def table(tmp_path):
    """The configuration of a table with an empty cell, a category and a group in some rows."""
    rows = np.arange(40)
    write_table(
        tmp_path / "a.csv",
        number=["" if k % 10 == 3 else k * k for k in rows],
        city=[f"c{k // 4}" for k in rows],
        person=[f"p{k % 8}" for k in rows],
        price=RNG.normal(size=40).round(3),
    )
    data = tl.DataConfig(validation_split=0, group_column="person", task="regression")
    return tl.ExperimentConfig(dataset=str(tmp_path / "a.csv"), data=data)


def test_each_repeat_holds_out_each_example_once(archive):
    folds = split_folds(whole_task(archive), 4, repeats=2)
    assert len(folds) == 8
    for repeat in (folds[:4], folds[4:]):
        assert sorted(np.concatenate([fold.held_out for fold in repeat])) == list(range(30))
        for fold in repeat:
            assert sorted([*fold.train, *fold.held_out]) == list(range(30))
    assert any(not np.array_equal(a.held_out, folds[4].held_out) for a in folds[:1])
    again = split_folds(whole_task(archive), 4, repeats=2)
    assert all(np.array_equal(a.held_out, b.held_out) for a, b in zip(folds, again, strict=True))


def test_folds_of_classes_have_their_share_of_each(archive):
    task = whole_task(archive)
    for fold in split_folds(task, 5):
        assert list(np.bincount(task.train.y[fold.held_out])) == [2, 2, 2]
    with pytest.raises(ValueError, match="folds is 11, but class 0 has only 10 examples"):
        split_folds(task, 11)
    assert len(split_folds(task, 11, "plain")) == 11


def test_groups_stay_together(table, archive):
    task = whole_task(table)
    assert "person" not in task.dataset.feature_names
    groups = task.dataset.groups
    for fold in split_folds(task, 4):
        assert not set(groups[fold.train]) & set(groups[fold.held_out])
    with pytest.raises(ValueError, match="there are only 8 groups"):
        split_folds(task, 9)
    with pytest.raises(ValueError, match="is for classes"):
        split_folds(task, 3, "stratified_grouped")
    given = np.arange(30) // 3
    for fold in split_folds(whole_task(archive), 3, groups=given):
        assert not set(given[fold.train]) & set(given[fold.held_out])
    with pytest.raises(ValueError, match="needs groups"):
        split_folds(whole_task(archive), 3, "grouped")


def test_a_fold_has_no_test_example_and_splits_its_own_validation_part(archive):
    task = whole_task(archive)
    assert task.train.size == 30 and task.validation is None
    fold = split_folds(task, 3)[1]
    found = fold_task(archive, task.dataset, fold)
    numbers = [set(part.x[:, 0].astype(int)) for part in (found.train, found.validation)]
    assert len(numbers[0]) == 15 and len(numbers[1]) == 5
    assert numbers[0] | numbers[1] == set(fold.train)
    assert list(found.test.x[:, 0]) == list(fold.held_out)


def test_rules_of_a_table_are_fitted_without_the_examples_held_out(table):
    task = whole_task(table)
    raw = np.genfromtxt(table.dataset, delimiter=",", skip_header=1, dtype=str)
    raw = raw[[k for k in range(40) if k not in rows_of_test(table)]]
    vocabularies = set()
    for fold in split_folds(task, 4):
        rules = fold_task(table, task.dataset, fold).dataset.preprocessing
        found = {column.name: column for column in rules.columns}
        rows = raw[fold.train]
        assert found["number"].median == np.median([float(x) for x in rows[:, 0] if x])
        cities = collections.Counter(rows[:, 1])
        assert set(found["city"].categories) == {c for c in cities if cities[c] > 1}
        vocabularies.add(found["city"].categories)
    assert len(vocabularies) > 1, "the folds see other rows"


def rows_of_test(config):
    """The rows of the file in its test part."""
    test = build_task(config).test.y
    prices = np.genfromtxt(config.dataset, delimiter=",", skip_header=1, usecols=3)
    return [k for k, price in enumerate(prices) if np.isclose(price, test, atol=1e-6).any()]


def test_inputs_are_scaled_by_the_training_examples_of_the_fold(archive):
    task = whole_task(archive)
    fold = split_folds(task, 3)[0]
    found = fold_task(archive, task.dataset, fold)
    (scale,) = (x for x in build_models(archive, found).full.layers if hasattr(x, "mean"))
    np.testing.assert_allclose(np.ravel(scale.mean), found.train.x.mean(axis=0), rtol=1e-5)
    assert not np.allclose(np.ravel(scale.mean), task.train.x.mean(axis=0), rtol=1e-3)


def test_data_with_their_own_validation_part_are_refused(tmp_path):
    x, y = np.ones((8, 2)), np.arange(8) % 2
    parts = {f"x_{part}": x for part in PARTS} | {f"y_{part}": y for part in PARTS}
    np.savez(tmp_path / "b.npz", **parts)
    with pytest.raises(ValueError, match="comes with validation examples"):
        whole_task(tl.ExperimentConfig(dataset=str(tmp_path / "b.npz")))


def test_several_targets_are_refused(archive, tmp_path):
    arrays = dict(np.load(archive.dataset))
    y = {f"y_{name}_{part}": arrays[f"y_{part}"] for name in "ab" for part in ("train", "test")}
    x = {f"x_{part}": arrays[f"x_{part}"] for part in ("train", "test")}
    np.savez(tmp_path / "b.npz", **x, **y)
    with pytest.raises(ValueError, match="folds is for one array of targets: name the arrays x"):
        whole_task(dataclasses.replace(archive, dataset=str(tmp_path / "b.npz")))


def test_without_scikit_learn_one_line_says_what_to_install(archive, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ValueError, match="folds needs scikit-learn: pip install"):
        split_folds(whole_task(archive), 3)


def test_a_group_column_is_a_column_of_a_table(archive, table):
    with pytest.raises(ValueError, match="group_column is 'person', but only a table has columns"):
        whole_task(dataclasses.replace(archive, data=tl.DataConfig(group_column="person")))
    for name, message in (("price", "the column to predict"), ("city2", "has no column 'city2'")):
        data = dataclasses.replace(table.data, group_column=name)
        with pytest.raises(ValueError, match=message):
            whole_task(dataclasses.replace(table, data=data))


def test_a_fold_is_a_pair_of_indices():
    train, held_out = Fold(np.array([0, 2]), np.array([1]))
    assert list(train) == [0, 2] and list(held_out) == [1]

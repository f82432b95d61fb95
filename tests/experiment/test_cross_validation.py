"""Cross-validation: its models, its scores, its files, and what is left when it is interrupted."""

from __future__ import annotations

import csv
import dataclasses
import json
import math

import numpy as np
import pytest

import trainlib as tl
from trainlib.experiment import CrossValidationError, cross_validation
from trainlib.experiment.folds import fold_task, split_folds, whole_task
from trainlib.experiment.trial import TrialResult
from trainlib.tools.fold_scores import fold_score

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
CONFIG = tl.ExperimentConfig(
    data=tl.DataConfig(train_examples=64, validation_split=0),
    model=tl.config("mlp", hidden=[4]),
    epochs=1,
    execution="graph",
    report=False,
)
TWO = tl.FoldConfig(folds=2)
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A cross-validation of two folds, with its folder."""
    folder = tmp_path_factory.mktemp("folds") / "run"
    return tl.cross_validate(CONFIG, tl.FoldConfig(folds=2, kind="plain"), run_dir=folder)


def rows(folder, name):
    return list(csv.DictReader((folder / name).read_text().splitlines()))


def test_a_fold_is_a_trial_on_its_examples(run):
    task = whole_task(CONFIG)
    split = split_folds(task, 2, "plain")[1]
    trial = tl.run_trial(CONFIG, fold_task(CONFIG, task.dataset, split))
    assert run.folds[1].held_out == trial.test
    assert run.folds[1].train == trial.train
    expected = trial.build_model().predict(task.train.x[split.held_out], verbose=0)
    found = run.out_of_fold[0, split.held_out]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_files_hold_the_folds_and_the_predictions(run):
    folds = rows(run.folder, "folds.csv")
    assert [float(x["loss"]) for x in folds] == [x.held_out["loss"] for x in run.folds]
    assert [x["held_out_examples"] for x in folds] == ["32", "32"]
    predicted = rows(run.folder, "out_of_fold.csv")
    assert sorted(int(x["example"]) for x in predicted) == list(range(64))
    for x in predicted:
        scores = run.out_of_fold[0, int(x["example"])]
        assert float(x["p3"]) == pytest.approx(scores[3], rel=1e-5)
        assert int(x["target"]) == run.targets[int(x["example"])]
    summary = json.loads((run.folder / "summary.json").read_text())
    mean = np.mean([x.held_out["accuracy"] for x in run.folds])
    assert summary["held_out"]["accuracy"]["mean"] == pytest.approx(mean)
    right = run.out_of_fold[0].argmax(axis=1) == run.targets
    assert mean == pytest.approx(right.mean())


MODULE = """
import keras


def both(shapes, units):
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    joined = keras.layers.Concatenate()(list(inputs.values()))
    return keras.Model(inputs, keras.layers.Dense(units)(joined))
"""


@pytest.mark.soak
def test_folds_of_several_inputs_hold_out_rows_of_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "of_two_inputs.py").write_text(MODULE)
    x_a, x_b = RNG.normal(size=(20, 2)), RNG.normal(size=(20, 3))
    np.savez("two.npz", x_a=x_a, x_b=x_b, y=x_a.sum(1))
    data = tl.DataConfig(validation_split=0)
    model = tl.config("of_two_inputs:both")
    config = dataclasses.replace(CONFIG, dataset="two.npz", model=model, data=data)
    found = tl.cross_validate(config, TWO)
    task, split = whole_task(config), found.splits[0]
    fold = fold_task(config, task.dataset, split)
    for name in "ab":
        np.testing.assert_array_equal(fold.train.x[name], task.train.x[name][split.train])
        np.testing.assert_array_equal(fold.test.x[name], task.train.x[name][split.held_out])
    wrong = found.out_of_fold[0, split.held_out].ravel() - task.train.y[split.held_out].ravel()
    assert found.folds[0].held_out["loss"] == pytest.approx(np.mean(wrong**2), rel=1e-5)


class Fake:
    """Training that is replaced by results which tell the folds apart.

    Attributes:
        trained: first held-out example of each fold that was trained.
        failures, interrupts: numbers of the calls, from 1, that fail or are interrupted.
        more: further results of each fold.
    """

    def __init__(self) -> None:
        self.trained: list[int] = []
        self.failures: set[int] = set()
        self.interrupts: set[int] = set()
        self.more: dict[str, float] = {}

    def run_fold(self, worker, fold):
        self.trained.append(int(fold.held_out[0]))
        if len(self.trained) in self.failures:
            raise ValueError("no luck")
        if len(self.trained) in self.interrupts:
            raise KeyboardInterrupt
        results = {"loss": float(fold.held_out[0]), "confusion_matrix": [[1]], **self.more}
        trial = TrialResult(CONFIG, [results], None, results, None, results, [], {}, 0.5)
        return trial, len(fold.train), np.full((len(fold.held_out), 10), 0.1, np.float32)


@pytest.fixture
def fake(monkeypatch):
    found = Fake()
    monkeypatch.setattr(cross_validation, "_run_fold", found.run_fold)
    return found


def test_what_was_finished_before_an_interruption_is_not_trained_again(fake, tmp_path):
    options = tl.FoldConfig(folds=4)
    fake.interrupts.add(3)
    with pytest.raises(KeyboardInterrupt):
        tl.cross_validate(CONFIG, options, run_dir=tmp_path / "a")
    lines = []
    found = tl.cross_validate(
        CONFIG, options, run_dir=tmp_path / "a", resume=True, log=lines.append
    )
    assert len(fake.trained) == 5, "two before the interruption, and two after it"
    whole = tl.cross_validate(CONFIG, options)
    assert found.scores == whole.scores and np.array_equal(found.out_of_fold, whole.out_of_fold)
    assert lines[0] == "digits: 64 examples in 4 folds"
    assert [line.split()[0] for line in lines[1:]] == ["3/4", "4/4"]


def test_finished_folds_keep_results_that_were_not_finite(fake, tmp_path):
    fake.more = {"auc": math.nan}
    tl.cross_validate(CONFIG, TWO, run_dir=tmp_path / "a")
    before = json.loads((tmp_path / "a" / "summary.json").read_text())
    found = tl.cross_validate(CONFIG, TWO, run_dir=tmp_path / "a", resume=True)
    assert len(fake.trained) == 2 and math.isnan(found.scores["auc"].mean)
    after = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert all(before[part] == after[part] for part in ("held_out", "train"))
    assert before["held_out"]["auc"]["mean"] is None


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"epochs": 2}, {}, "has epochs 1, here it is 2: give the same"),
        ({"optimizer": tl.config("sgd")}, {}, "has optimizer adam, here it is sgd"),
        ({}, {"folds": 3}, "has folds 4, here it is 3"),
        ({}, {"kind": "plain"}, "has kind auto, here it is plain"),
    ],
)
def test_a_cross_validation_is_not_resumed_with_other_settings(
    changes, options, message, fake, tmp_path
):
    four = tl.FoldConfig(folds=4)
    tl.cross_validate(CONFIG, four, run_dir=tmp_path / "a")
    fake.trained.clear()
    config, other = dataclasses.replace(CONFIG, **changes), dataclasses.replace(four, **options)
    with pytest.raises(ValueError, match=message):
        tl.cross_validate(config, other, run_dir=tmp_path / "a", resume=True)
    assert fake.trained == []


def test_a_cross_validation_is_not_resumed_with_other_data_or_groups(fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, groups = RNG.normal(size=(40, 2)), np.arange(40) // 5
    config = dataclasses.replace(CONFIG, dataset="own.npz", data=tl.DataConfig(validation_split=0))

    def validate(y, groups, resume):
        np.savez("own.npz", x=x, y=y)
        tl.cross_validate(config, TWO, groups=groups, run_dir=tmp_path / "a", resume=resume)

    size = whole_size(x, config)
    validate(x.sum(1), groups[:size], False)
    validate(x.sum(1), groups[:size], True)
    with pytest.raises(ValueError, match=f"has data {size} examples, crc32 .*, here it is {size}"):
        validate(x.sum(1) + 1, groups[:size], True)
    with pytest.raises(ValueError, match="has splits 2 folds, crc32 .*, here it is 2 folds"):
        validate(x.sum(1), groups[:size][::-1] // 2, True)


def whole_size(x, config):
    """The number of examples outside the test part of these inputs."""
    np.savez("own.npz", x=x, y=x.sum(1))
    return whole_task(config).train.size


def test_repeated_examples_do_not_narrow_the_interval(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    y = (np.arange(60) % 6 == 0).astype(int)
    np.savez("own.npz", x=RNG.normal(size=(60, 2)), y=y)
    data = tl.DataConfig(validation_split=0.2, oversample=True)
    config = dataclasses.replace(CONFIG, dataset="own.npz", data=data)
    found = tl.cross_validate(config, TWO)
    size = len(found.targets)
    for fold, split in zip(found.folds, found.splits, strict=True):
        assert fold.train_size == len(split.train) - round(0.2 * len(split.train)) < size / 2
    losses = [x.held_out["loss"] for x in found.folds]
    ratio = np.mean([len(found.splits[0].held_out) / x.train_size for x in found.folds])
    assert found.scores["loss"] == fold_score(losses, ratio)


def test_a_fold_that_fails_is_recorded_and_the_others_count(fake, tmp_path):
    fake.failures.add(2)
    found = tl.cross_validate(CONFIG, tl.FoldConfig(folds=3), run_dir=tmp_path / "a")
    assert [x.failure for x in found.folds] == [None, "ValueError: no luck", None]
    losses = [float(found.splits[k].held_out[0]) for k in (0, 2)]
    assert found.scores["loss"].mean == np.mean(losses)
    assert set(found.scores) == {"loss"}, "a matrix has no mean"
    assert np.isnan(found.out_of_fold[0, found.splits[1].held_out]).all()
    assert rows(tmp_path / "a", "folds.csv")[1]["failure"] == "ValueError: no luck"
    fake.failures.update(range(100))
    with pytest.raises(CrossValidationError, match="all folds failed, the first by: ValueErr"):
        tl.cross_validate(CONFIG, TWO)


def test_repeats_give_bias_and_variance(fake):
    found = tl.cross_validate(CONFIG, tl.FoldConfig(folds=2, repeats=3))
    assert found.out_of_fold.shape == (3, 64, 10)
    assert found.bias_variance.variance == pytest.approx(0, abs=1e-12)
    assert found.bias_variance.bias == pytest.approx(0.9**2 + 9 * 0.1**2, rel=1e-6)
    assert tl.cross_validate(CONFIG, TWO).bias_variance is None


def test_the_report_shows_scores_folds_and_predictions(fake, tmp_path):
    pytest.importorskip("matplotlib")
    config = dataclasses.replace(CONFIG, report=True)
    tl.cross_validate(config, tl.FoldConfig(folds=3, repeats=2), run_dir=tmp_path / "a")
    text = (tmp_path / "a" / "report.html").read_text()
    for shown in ("digits: 3 folds, 2 times", "95 % interval", "Bias and variance", "variance"):
        assert shown in text
    assert {x.name for x in (tmp_path / "a").glob("*.png")} == {
        "loss.png",
        "confusion_matrix.png",
    }


def test_a_folder_in_use_and_wrong_options_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="not empty|exists"):
        tl.cross_validate(CONFIG, TWO, run_dir=tmp_path)
    with pytest.raises(ValueError, match="folds must be at least 2, got 1"):
        tl.FoldConfig(folds=1)
    with pytest.raises(ValueError, match="fold_kind"):
        tl.FoldConfig(kind="random")


def test_a_second_process_does_not_train_the_same_folds(tmp_path):
    def second(line):
        with pytest.raises(ValueError, match="another process"):
            tl.cross_validate(CONFIG, TWO, run_dir=tmp_path / "run", resume=True)

    assert len(tl.cross_validate(CONFIG, TWO, run_dir=tmp_path / "run", log=second).folds) == 2

"""`train --folds`: cross-validation at a shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainlib.experiment import run_folder

pytest.importorskip("sklearn", reason="scikit-learn is not installed")


def test_folds_are_trained_printed_and_written(quick, command, tmp_path):
    done = quick("--folds=2", "--run_dir=a")
    assert (done.status, done.errors) == (0, "")
    head, first, second = done.err.splitlines()
    *scores, folder = done.out.splitlines()
    assert head == "digits: 64 examples in 2 folds"
    assert first.startswith("1/2  fold 1  loss ") and second.startswith("2/2  fold 2  loss ")
    assert [line.split()[:3] for line in scores] == [
        ["held", "out:", "loss"],
        ["held", "out:", "accuracy"],
    ]
    assert folder == "run folder: a"
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["folds"] == 2 and not summary["failures"]
    again = command("train", "--resume=a")
    assert again.err.splitlines() == [head]
    assert again.out.splitlines() == [*scores, folder]
    refused = command("train", "--resume=a", "--dry_run")
    assert refused.status == 2
    assert "--dry_run is for a new cross-validation" in refused.err
    refused = command("train", "--resume=a", "--epochs=3")
    assert refused.status == 2
    assert "--epochs cannot change in a cross-validation that is resumed" in refused.err


def test_cross_validations_that_begin_in_one_second_get_different_folders(
    quick, tmp_path, monkeypatch
):
    monkeypatch.setattr(run_folder, "default_path", lambda config, prefix: Path("runs", "folds-a"))
    for _ in range(2):
        done = quick("--folds=2")
        assert (done.status, done.errors) == (0, "")
    assert sorted(x.name for x in (tmp_path / "runs").iterdir()) == ["folds-a", "folds-a-2"]
    assert done.out.splitlines()[-1] == "run folder: runs/folds-a-2"


def test_folds_of_several_workers_are_refused(quick, tmp_path, monkeypatch):
    workers = {
        "cluster": {"worker": ["localhost:9", "localhost:10"]},
        "task": {"type": "worker", "index": 0},
    }
    monkeypatch.setenv("TF_CONFIG", json.dumps(workers))
    for flags in (("--folds=2",), ("--folds=2", "--dry_run")):
        done = quick(*flags)
        assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
        assert "--folds is trained on one machine" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--folds=2", "--strategy=multi_worker"), "--folds is trained on one machine"),
        (("--folds=2", "--nonfinite=roll_back"), "--nonfinite=roll_back needs the checkpoints"),
        (("--folds=1",), "--folds must be at least 2, got 1"),
        (("--fold_kind=grouped",), "--fold_kind needs --folds"),
        (
            ("--folds=3", "--fold_kind=grouped"),
            "--fold_kind grouped needs groups: give --gro",
        ),
        (("--folds=3", "--stop_after=5"), "--stop_after is for one run, not for --folds"),
        (("--folds=2000",), "but class"),
        (("--folds=3", "--ensemble=2"), "but each fold trains one model"),
    ],
)
def test_flags_that_do_not_suit_folds_are_refused(flags, message, command, tmp_path):
    done = command("train", *flags)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err
    assert list(tmp_path.iterdir()) == []

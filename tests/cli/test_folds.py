"""`train --folds`: cross-validation at a shell."""

from __future__ import annotations

import json

import pytest

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
    refused = command("train", "--resume=a", "--epochs=3")
    assert refused.status == 2
    assert "--epochs cannot change in a cross-validation that is resumed" in refused.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
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

"""`train --ensemble` at a shell."""

from __future__ import annotations

import json
import shutil

import pytest

from trainlib.experiment import ensemble, ensemble_average
from trainlib.experiment.ensemble_members import train_member


def test_an_ensemble_is_trained_resumed_evaluated_and_predicts(quick, command, tmp_path):
    done = quick("--ensemble=2", "--run_dir=a")
    assert (done.status, done.errors) == (0, "")
    members, lines = done.err.splitlines(), done.out.splitlines()
    assert members[0].startswith("member 1 of 2: 1 epochs, ")
    assert members[1].startswith("member 2 of 2: 1 epochs, ")
    assert [x.split(":")[0] for x in lines] == [
        "test negative log likelihood",
        "test error",
        "test calibration error",
        "test",
        "run folder",
    ]
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["ensemble"]["weights"] == [0.5, 0.5]
    assert json.loads(command("evaluate", "--run_dir=a").out) == summary["test"]
    assert command("predict", "--run_dir=a", "--output=p.csv").status == 0

    (tmp_path / "a" / "summary.json").unlink()
    shutil.rmtree(tmp_path / "a" / "members" / "2")
    again = command("train", "--resume=a")
    kept, trained = again.err.splitlines()
    assert kept == "members: 1 of 2 are finished already"
    assert trained.startswith("member 2 of 2: ")
    assert again.out.splitlines() == lines
    refused = command("train", "--resume=a", "--epochs=3")
    assert refused.status == 2
    assert refused.err.count("\n") == 1


@pytest.mark.parametrize("at", ["member", "average", "report"])
def test_an_interrupted_ensemble_says_how_to_continue(at, quick, command, tmp_path, monkeypatch):
    def interrupt(*unused):
        raise KeyboardInterrupt

    def train_first(state, index):
        return train_member(state, index) if index == 0 else interrupt()

    with monkeypatch.context() as patch:
        if at == "report":
            patch.setattr(ensemble_average, "_write_report", interrupt)
        else:
            name = "train_member" if at == "member" else "average_members"
            patch.setattr(ensemble, name, train_first if at == "member" else interrupt)
        done = quick("--ensemble=2", "--jobs=1", "--run_dir=a", f"--report={at == 'report'}")
    how = "resume with: train --resume=a"
    if at == "report":
        how = "the run is finished but for its report: report a"
    assert (done.status, done.errors) == (130, f"train: interrupted; {how}\n")
    if at != "report":
        assert command("train", "--resume=a").status == 0
    assert (tmp_path / "a" / "summary.json").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--ensemble=0",), "--ensemble must be at least 1, got 0"),
        (("--ensemble_by=fold",), "--ensemble_by needs an ensemble of at least 2 models"),
        (("--ensemble=2", "--tensorboard"), "--tensorboard is for single runs"),
        (
            ("--ensemble=2", "--ensemble_weights=simplex", "--validation_split=0"),
            "--ensemble_weights=simplex needs validation data",
        ),
        (("--ensemble=2", "--jobs=0"), "--jobs must be at least 1, got 0"),
    ],
)
def test_flags_that_do_not_suit_an_ensemble_are_refused(flags, message, command, tmp_path):
    done = command("train", *flags)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err
    assert list(tmp_path.iterdir()) == []


def test_an_average_of_the_parameters_is_trained_and_saved(quick, command, tmp_path):
    done = quick("--weight_average=ema", "--ema_decay=0.9", "--run_dir=a")
    assert (done.status, done.errors) == (0, "")
    assert "; evaluated: average of the parameters, ema, decay 0.9" in done.err.splitlines()[0]
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    evaluated = json.loads(command("evaluate", "--run_dir=a").out)
    assert evaluated == pytest.approx(summary["test"], rel=1e-6)
    refused = command("train", "--swa_start=0.5")
    assert (refused.status, refused.out) == (2, "")
    assert "--swa_start needs --weight_average=swa" in refused.err

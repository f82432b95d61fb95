"""`tune`: a small search, its folder, its resumption, and bad input."""

from __future__ import annotations

import csv
import json
import signal

import pytest

pytest.importorskip("optuna")

from trainlib.experiment.search import loop, study  # noqa: E402
from trainlib.experiment.search.candidate import Outcome  # noqa: E402
from trainlib.experiment.search.storage import open_storage  # noqa: E402

QUICK = ("--hidden=8", "--execution=graph", "--train_examples=100", "--epochs=1", "--noreport")
SEARCH = "--search=learning_rate=log(1e-3,1e-1)"


def rows(folder):
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_search_leaves_a_table_a_flag_file_and_the_best_model_and_goes_on(command, tmp_path):
    flags = ("--search=learning_rate={0.02,1e30}", "--sampler=grid", "--nonfinite=stop")
    done = command("tune", *QUICK, *flags, "--trials=1", "--run_dir=run", "--norefit")
    assert (done.status, done.errors) == (0, "")
    assert "1/1  trial 0: " in done.err and "train it: train --flagfile=run/best.txt" in done.out
    resumed = command("tune", "--resume=run", "--trials=2", "--refit")
    assert (resumed.status, resumed.errors) == (0, "")
    first, second = rows(tmp_path / "run")
    assert (first["state"], first["learning_rate"], first["epochs"]) == ("complete", "0.02", "1")
    assert second["state"] == "failed" and "finite" in second["error"]
    assert second["val_loss"] == ""
    assert "--learning_rate=0.02" in (tmp_path / "run/best.txt").read_text().splitlines()
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["trials"] == {"complete": 1, "pruned": 0, "failed": 1}
    best = json.loads((tmp_path / "run/best/summary.json").read_text())
    assert summary["test"] == best["test"]
    assert best["validation"]["loss"] == pytest.approx(summary["best"]["value"], rel=1e-5)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_keeps_the_finished_trials_and_the_search_goes_on(
    number, status, command, tmp_path, monkeypatch
):
    ran = []

    def run(worker, candidate):
        ran.append(candidate)
        if len(ran) == 2:
            signal.raise_signal(number)
        return Outcome((candidate.drawn["learning_rate"],), 1, 0.5, False)

    monkeypatch.setattr(loop, "run_candidate", run)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        done = command("tune", *QUICK, SEARCH, "--trials=3", "--norefit", "--run_dir=run")
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.status == status
    assert done.errors == "tune: interrupted after 1 of 3 trials; resume with: tune --resume=run\n"
    assert [x["number"] for x in rows(tmp_path / "run")] == ["0"]
    assert json.loads((tmp_path / "run/summary.json").read_text())["best"]["number"] == 0
    resumed = command("tune", "--resume=run")
    assert (resumed.status, resumed.errors) == (0, "")
    assert [x.number for x in ran] == [0, 1, 1, 2] and ran[1] == ran[2]
    assert len(rows(tmp_path / "run")) == 3


def test_the_folder_of_a_search_does_not_hold_the_password_of_its_storage(
    command, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "run_candidate", lambda worker, x: Outcome((1.0,), 1, 0.5, False))
    monkeypatch.setattr(study, "open_storage", lambda place: open_storage(str(tmp_path / "a.db")))
    flags = ("--trials=1", "--norefit", "--run_dir=run")
    storage = "--storage=postgresql://ann:secret@server/optuna"
    done = command("tune", *QUICK, SEARCH, *flags, storage)
    assert (done.status, done.errors) == (0, "")
    texts = [file.read_text() for file in (tmp_path / "run").iterdir()]
    assert any("postgresql://ann@server/optuna" in text for text in texts)
    assert not any("secret" in text for text in texts)


def test_all_trials_failed(command, tmp_path):
    flags = ("--search=learning_rate={1e30}", "--sampler=grid", "--nonfinite=stop")
    done = command("tune", *QUICK, *flags, "--run_dir=run")
    assert done.status == 1
    assert "none of 1 trials is complete; trial 0: NonFiniteError" in done.err
    assert len(rows(tmp_path / "run")) == 1 and not (tmp_path / "run/best.txt").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "--search must be given"),
        (("--search=depth=int(0,3",), "from character 10, '(0,3': '(' is not closed"),
        (("--search=learning_rat=log(1,2)",), "unknown flag --learning_rat: did you mean"),
        ((SEARCH, "--sampler=tp"), "did you mean tpe?"),
        ((SEARCH, "--monitor=loss"), "--monitor must be a result on the validation data"),
        ((SEARCH, "--monitor=val_accuracyy"), "--monitor val_accuracyy: give --monitor_mode"),
        ((SEARCH, "--monitor=val_f1"), "the results are val_loss, val_accuracy"),
        ((SEARCH, "--validation_split=0"), "--validation_split is 0, but trials are compared"),
        ((SEARCH, "--sampler=grid"), "grid needs values of --learning_rate"),
        ((SEARCH, "--nonfinite=roll_back"), "needs the checkpoints of a run"),
        ((SEARCH, "--strategy=multi_worker"), "--search is trained on one machine"),
        (("--search=l2=log(1e-6,1)", "--regularizer=l2"), "l2 changes what val_loss is"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(flags, message, command, tmp_path):
    done = command("tune", *QUICK, *flags, "--run_dir=run")
    assert done.status == 2
    assert message in done.err and done.err.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_what_a_resumed_search_cannot_change_is_refused(command, tmp_path):
    done = command("tune", "--resume=run", "--epochs=3")
    assert done.status == 2 and "--epochs cannot change in a search that is resumed" in done.err
    done = command("tune", "--resume=run")
    assert done.status == 2 and "not a search of tune" in done.err

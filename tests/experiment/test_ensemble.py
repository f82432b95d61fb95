"""An ensemble: its members are plain runs, and its folder is that of one model."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from helpers.experiments import QUICK, experiment

import trainlib as tl
from trainlib.experiment.ensemble import _fastest
from trainlib.experiment.reporting import write_report
from trainlib.experiment.resume import resumed_ensemble
from trainlib.experiment.run_evaluation import evaluate_run
from trainlib.experiment.run_prediction import predict_run
from trainlib.experiment.saved_run import read_saved_run
from trainlib.experiment.task_building import build_task

CONFIG = experiment(
    *QUICK, "--validation_split=0.25", "--ensemble=2", "--ensemble_weights=simplex", "--calibrate"
)


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tl.run_ensemble(CONFIG, tmp_path_factory.mktemp("runs") / "e", jobs=1)


def members_of(folder: Path) -> list[Any]:
    files = [folder / "members" / name / "model.keras" for name in ("1", "2")]
    return [keras.saving.load_model(file) for file in files]


@pytest.mark.soak
def test_a_member_is_the_plain_run_with_its_seed_on_the_same_split(ensemble: Any) -> None:
    plain = dataclasses.replace(
        CONFIG,
        seed=1,
        data=dataclasses.replace(CONFIG.data, split_seed=0),
        ensemble=tl.EnsembleConfig(),
        calibrate=False,
    )
    trial = tl.run_trial(plain)
    for ours, of_trial in zip(
        members_of(ensemble.folder)[1].get_weights(), trial.weights, strict=True
    ):
        np.testing.assert_array_equal(ours, of_trial)
    member = read_saved_run(ensemble.folder / "members" / "2")
    assert dict(member.summary["test"]) == trial.test
    lines = (member.folder / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["val_loss"] == trial.history[0]["val_loss"]
    assert dataclasses.replace(member.config, report=True) == dataclasses.replace(
        trial.config, report=True
    )


def test_the_folder_is_that_of_one_model(ensemble: Any) -> None:
    x = build_task(CONFIG).part("test").x
    p = np.tensordot(
        ensemble.weights, [m.predict(x, verbose=0) for m in members_of(ensemble.folder)], 1
    )
    summary = json.loads((ensemble.folder / "summary.json").read_text())
    g = p ** (1 / summary["calibration"]["temperature"])
    run = read_saved_run(ensemble.folder)
    np.testing.assert_allclose(predict_run(run), g / g.sum(1, keepdims=True), rtol=1e-4)
    assert evaluate_run(run) == ensemble.test == summary["test"]
    assert sum(ensemble.weights) == pytest.approx(1)


def test_the_summary_compares_the_members_with_their_average(ensemble: Any) -> None:
    task = build_task(CONFIG)
    x, y = task.part("test")
    p = np.array([m.predict(x, verbose=0) for m in members_of(ensemble.folder)], np.float64)
    mean = np.tensordot(ensemble.weights, p, 1)
    found = ensemble.scores["test"]
    for score, values in (("members", p), ("ensemble", [mean])):
        nll = [-np.log(q[np.arange(len(y)), y]).mean() for q in values]
        error = [(q.argmax(1) != y).mean() for q in values]
        np.testing.assert_allclose(
            np.ravel(found["negative_log_likelihood"][score]), nll, rtol=1e-4
        )
        np.testing.assert_allclose(np.ravel(found["error"][score]), error, atol=1e-9)
    assert found["disagreement"] == (p[0].argmax(1) != p[1].argmax(1)).mean()


@pytest.mark.soak
def test_a_resumed_ensemble_trains_the_members_that_are_missing(
    ensemble: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "e"
    shutil.copytree(ensemble.folder, folder)
    (folder / "summary.json").unlink()
    (folder / "members" / "2" / "summary.json").unlink()
    kept = (folder / "members" / "1" / "model.keras").stat().st_mtime_ns
    config = resumed_ensemble(folder, {"ensemble": 2})
    assert config is not None
    lines: list[str] = []
    again = tl.run_ensemble(config, folder, resume=True, log=lines.append)
    assert lines[0] == "members: 1 of 2 are finished already"
    assert (folder / "members" / "1" / "model.keras").stat().st_mtime_ns == kept
    assert (again.test, again.weights) == (ensemble.test, ensemble.weights)
    with pytest.raises(ValueError, match="is finished"):
        resumed_ensemble(folder, {})


def test_a_resumed_ensemble_keeps_its_settings(ensemble: Any, tmp_path: Path) -> None:
    folder = tmp_path / "e"
    folder.mkdir()
    shutil.copy(ensemble.folder / "config.json", folder)
    with pytest.raises(ValueError, match="--epochs=7 contradicts the run"):
        resumed_ensemble(folder, {"epochs": 7})


def test_the_report_has_a_row_for_each_member(ensemble: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_report(ensemble.folder, tmp_path)
    text = (tmp_path / "report.html").read_text()
    for part in ("member 1", "member 2", "Gain and diversity", "reliability", "ambiguity"):
        assert part in text


def test_the_report_shows_scores_that_were_not_finite(ensemble: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    shutil.copytree(ensemble.folder, tmp_path / "e")
    file = tmp_path / "e" / "summary.json"
    summary = json.loads(file.read_text())
    scores = summary["ensemble"]["scores"]["test"]
    nll = scores["negative_log_likelihood"]
    scores["gain"] = nll["ensemble"] = nll["mean"] = nll["members"][0] = None
    file.write_text(json.dumps(summary))
    write_report(tmp_path / "e", tmp_path / "report")
    text = (tmp_path / "report" / "report.html").read_text()
    shown = text[text.index("<h2>Members") : text.index("<h2>Training")]
    assert shown.count('<td class="number">-</td>') == 5
    assert f"<strong>{nll['members'][1]:.3f}" in shown


def test_snapshots_are_states_of_one_run_and_the_last_is_its_end(
    data_dir: Path, tmp_path: Path
) -> None:
    config = experiment(
        *QUICK, "--dataset=california_housing", f"--data_dir={data_dir}", "--epochs=2",
        "--ensemble=2", "--ensemble_by=snapshot",
    )  # fmt: skip
    result = tl.run_ensemble(config, tmp_path / "e")
    schedule = tl.config("cosine_decay_restarts", first_decay_steps=2, t_mul=1.0, m_mul=1.0)
    one = dataclasses.replace(config, ensemble=tl.EnsembleConfig(), schedule=schedule)
    first, last = members_of(result.folder)
    for ours, of_trial in zip(last.get_weights(), tl.run_trial(one).weights, strict=True):
        np.testing.assert_array_equal(ours, of_trial)
    x, y = build_task(config).part("test")
    assert not np.array_equal(first.get_weights()[-1], last.get_weights()[-1])
    mean = (first.predict(x, verbose=0) + last.predict(x, verbose=0))[:, 0] / 2
    assert result.test["loss"] == pytest.approx(((mean - y) ** 2).mean(), rel=1e-5)
    histories = [
        (result.folder / "members" / name / "metrics.jsonl").read_text() for name in ("1", "2")
    ]
    assert [text.count("\n") for text in histories] == [1, 2]


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--ensemble_weights=greedy"], "ensemble_weights=greedy needs validation data"),
        (["--tensorboard"], "tensorboard is for single runs"),
        (["--checkpoint_epochs=2"], "leave out the flags of checkpoints"),
        (["--nonfinite=roll_back"], "nonfinite=roll_back needs the checkpoints of a run"),
        (["--calibrate"], "calibrate needs validation data"),
        (["--model=autoencoder"], "not for autoencoders"),
        (["--loss=hinge", "--ensemble_average=logits"], "is for losses of probabilities"),
        (["--ensemble_by=snapshot", "--epochs=3"], "which 2 snapshots do not divide"),
        (["--ensemble_by=snapshot", "--schedule=cosine_decay"], "needs schedule cosine_decay_re"),
        (["--checkpoint_best=none", "--early_stop"], "leave out the flags of checkpoints"),
        (["--early_stop", "--early_stop_monitor=val_loss"], "monitors 'val_loss'"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_left(
    flags: list[str], message: str, tmp_path: Path
) -> None:
    base = [flag for flag in QUICK if "hidden" not in flag or "autoencoder" not in str(flags)]
    config = experiment(*base, "--ensemble=2", *flags)
    with pytest.raises(ValueError, match=message):
        tl.run_ensemble(config, tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_other_functions_refuse_an_ensemble() -> None:
    with pytest.raises(ValueError, match="ensemble is 2, but one model is trained here"):
        tl.run_trial(CONFIG)


def test_processes_train_members_only_where_they_save_time(monkeypatch: Any) -> None:
    monkeypatch.setattr("trainlib.experiment.ensemble.share_of_cores", lambda jobs: 2)
    assert [_fastest(4, seconds) for seconds in (5.0, 15.0)] == [1, 2]
    assert _fastest(1, 1000.0) == 1

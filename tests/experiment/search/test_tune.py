"""`tl.tune`: results, folds, pruning, several processes on one study, and interruption."""

from __future__ import annotations

import csv
import dataclasses
import re
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("optuna")

from helpers.commands import errors_in  # noqa: E402
from helpers.processes import started_python  # noqa: E402

import trainlib as tl  # noqa: E402
from trainlib.experiment.folds import whole_task  # noqa: E402
from trainlib.experiment.search import candidate  # noqa: E402
from trainlib.experiment.search.candidate import (  # noqa: E402
    PRUNED,
    Candidate,
    Outcome,
    Pruning,
    SearchError,
    Worker,
    run_candidate,
)
from trainlib.experiment.search.checks import searched_config  # noqa: E402
from trainlib.experiment.search.result import SearchInterrupted  # noqa: E402
from trainlib.experiment.search.running import RunningSearch  # noqa: E402
from trainlib.experiment.search.space_text import parse_space  # noqa: E402
from trainlib.experiment.search.tune import tune  # noqa: E402

CONFIG = tl.ExperimentConfig(
    data=tl.DataConfig(train_examples=100, validation_split=0.2),
    model=tl.config("mlp", hidden=[8]),
    execution="graph",
    epochs=2,
    report=False,
)
SPACE = "learning_rate=log(1e-3,1e-1); batch_size={20,40}"
OPTIONS = tl.TuneConfig(trials=2, sampler="random", refit=False)


def test_a_trial_is_the_run_of_its_configuration(tmp_path):
    found = tune(CONFIG, SPACE, OPTIONS, run_dir=tmp_path / "run")
    assert found.best is None and len(found.trials) == 2
    assert found.value == min(trial.value for trial in found.trials)
    alone = tl.run_trial(found.config)
    assert alone.validation["loss"] == pytest.approx(found.value, rel=1e-6)
    assert found.config == dataclasses.replace(
        CONFIG,
        optimizer=tl.config("adam", learning_rate=found.params["learning_rate"]),
        batch_size=int(found.params["batch_size"]),
    )


class FakeResult(NamedTuple):
    """What `run_candidate` reads of a trial."""

    history: list
    seconds: float
    validation: dict
    test: dict


FAKE = FakeResult([{}], 0.5, {}, {"loss": 1.0})


def test_a_trial_with_folds_is_judged_by_the_mean_of_its_folds(monkeypatch):
    parts = []

    def fake(config, task, pool, callbacks):
        parts.append(task)
        return FakeResult([{}, {}], 0.5, {}, {"accuracy": float(len(parts))})

    monkeypatch.setattr(candidate, "run_trial", fake)
    searched = searched_config(CONFIG, parse_space(SPACE))
    worker = Worker(searched, "val_accuracy", 4, None)
    found = run_candidate(worker, Candidate(0, {"learning_rate": 0.01, "batch_size": "20"}))
    assert found == Outcome((1.0, 2.0, 3.0, 4.0), 8, 2.0, False) and found.value == 2.5
    for task in parts:
        assert task.train.size + task.validation.size + task.test.size == 100
        assert abs(task.test.size - 25) <= 2 and abs(task.validation.size - 15) <= 1
    held_out = np.concatenate([task.test.x for task in parts]).reshape(100, -1)
    task = whole_task(CONFIG)  # its own test part is in no fold
    assert sorted(map(tuple, held_out)) == sorted(map(tuple, task.train.x.reshape(100, -1)))


class Judge:
    """A trial of Optuna that is pruned at a step."""

    def __init__(self, step):
        self.step, self.reported = step, []

    def report(self, value, step):
        self.reported.append(step)

    def should_prune(self):
        return self.reported[-1] == self.step


def test_a_trial_that_is_pruned_in_its_second_fold_ends_there(monkeypatch):
    judge = Judge(step=4)  # after the epochs 1, 2 and 3 of the first fold
    config = dataclasses.replace(CONFIG, epochs=3)
    worker = Worker(searched_config(config, parse_space(SPACE)), "val_loss", 3, None)
    monkeypatch.setattr(
        worker, "pruning", lambda number, epochs: Pruning(judge, "val_loss", epochs)
    )
    found = run_candidate(worker, Candidate(0, {"learning_rate": 0.01, "batch_size": "20"}))
    assert judge.reported == [1, 2, 3, 4]
    assert (found.is_pruned, found.epochs, len(found.scores)) == (True, 4, 2)


def test_a_trial_is_not_pruned_after_its_last_epoch():
    judge, ends = Judge(step=4), []
    for steps in (4, 5):
        pruning = Pruning(judge, "val_loss", steps)
        ends.append(pruning.on_epoch_end(SimpleNamespace(epoch=4, results={"val_loss": 1.0})))
    assert ends == [None, PRUNED] and judge.reported == [4, 4]


def test_a_pruner_counts_the_epochs_of_the_trial(monkeypatch):
    epochs = []
    monkeypatch.setattr(candidate, "run_trial", lambda *args, **kwargs: FAKE)
    searched = searched_config(CONFIG, parse_space("epochs={3,5}"))
    worker = Worker(searched, "val_loss", 3, None)
    monkeypatch.setattr(worker, "pruning", lambda number, count: epochs.append(count))
    for drawn in ("3", "5"):
        run_candidate(worker, Candidate(0, {"epochs": drawn}))
    assert epochs == [9, 15]


@pytest.mark.parametrize(
    ("space", "most"),
    [
        ("epochs=int(3,6)", 6),
        ("epochs={1,4}", 4),
        ("epochs={4,7} if batch_size=20; batch_size={20,40}", 7),
        ("epochs={4} if batch_size=20; batch_size={20,40}", 5),
        ("batch_size={20,40}", 5),
    ],
)
def test_the_pruner_knows_the_most_epochs_of_a_trial(space, most, tmp_path, monkeypatch):
    monkeypatch.setattr(RunningSearch, "run", lambda search, on_trial: places.append(search.place))
    monkeypatch.setattr(RunningSearch, "finish", lambda search, log: None)
    places = []
    options = dataclasses.replace(OPTIONS, folds=2, pruner="hyperband")
    tune(dataclasses.replace(CONFIG, epochs=5), space, options, run_dir=tmp_path / "run")
    assert [place.steps for place in places] == [2 * most]


@pytest.mark.parametrize(
    ("pruner", "monitors", "message"),
    [
        ("median", (), "pruner median needs"),
        ("none", ("early_stop",), "early_stop needs"),
        ("none", (tl.config("early_stop", monitor="loss"),), ""),
        ("none", (), ""),
    ],
)
def test_what_judges_epochs_needs_validation_data_with_folds_too(pruner, monitors, message):
    data = dataclasses.replace(CONFIG.data, validation_split=0)
    config = dataclasses.replace(CONFIG, data=data, monitors=monitors)
    worker = Worker(searched_config(config, parse_space(SPACE)), "val_loss", 2, None)
    if not message:
        worker.check(config, pruner)
        return
    with pytest.raises(SearchError, match=f"^{message} validation data in each fold"):
        worker.check(config, pruner)


@pytest.mark.soak
def test_a_bad_trial_is_ended_early_and_recorded(tmp_path):
    options = dataclasses.replace(OPTIONS, trials=7, sampler="grid", pruner="median")
    space = {"learning_rate": ["0.05", "0.04", "0.03", "0.045", "0.035", "1e-9"]}
    found = tune(CONFIG, space, options, run_dir=tmp_path / "run")
    assert [trial.state for trial in found.trials] == ["complete"] * 5 + ["pruned"]


def test_an_interrupted_search_keeps_what_is_finished_and_goes_on(tmp_path, monkeypatch):
    def interrupt(status):
        raise KeyboardInterrupt

    folder, options = tmp_path / "run", dataclasses.replace(OPTIONS, trials=3)
    with pytest.raises(SearchInterrupted) as caught:
        tune(CONFIG, SPACE, options, run_dir=folder, on_trial=interrupt)
    assert (caught.value.finished, caught.value.trials) == (1, 3)
    assert len((folder / "trials.csv").read_text().splitlines()) == 2
    seen = []
    tune(CONFIG, SPACE, options, run_dir=folder, resume=True, on_trial=seen.append)
    assert [status.last.number for status in seen] == [1, 2]
    assert [(status.finished, status.trials) for status in seen] == [(2, 3), (3, 3)]


@pytest.mark.soak
def test_processes_and_searches_share_one_study(tmp_path):
    storage = str(tmp_path / "shared.journal")
    options = dataclasses.replace(OPTIONS, trials=4, jobs=2, storage=storage)
    first = tune(CONFIG, SPACE, options, run_dir=tmp_path / "first")
    assert sorted(trial.number for trial in first.trials) == [0, 1, 2, 3]
    more = dataclasses.replace(options, trials=6, jobs=1)
    second = tune(CONFIG, SPACE, more, run_dir=tmp_path / "second")
    assert [trial.params for trial in second.trials[:4]] == [x.params for x in first.trials]
    alone = dataclasses.replace(OPTIONS, trials=6)
    third = tune(CONFIG, SPACE, alone, run_dir=tmp_path / "third")
    assert [trial.params for trial in third.trials] == [x.params for x in second.trials]


@pytest.mark.soak
@pytest.mark.parametrize("storage", ["shared.journal", "shared.db"])
def test_two_commands_at_once_share_one_study(storage, tmp_path):
    flags = ("--train_examples=100", "--hidden=8", "--execution=graph", "--noreport", "--norefit")
    search = ("--search=learning_rate=log(1e-3,1e-1)", "--sampler=random", "--trials=20")
    command = ("-m", "trainlib.cli.tune", *flags, *search, f"--storage={storage}")
    with (
        started_python(*command, "--run_dir=a", cwd=tmp_path) as first,
        started_python(*command, "--run_dir=b", cwd=tmp_path) as second,
    ):
        printed = [process.communicate(timeout=300) for process in (first, second)]
    assert [errors_in(errors) for _, errors in printed] == ["", ""]
    ran = [re.findall(r"trial (\d+): ", progress) for _, progress in printed]
    assert all(ran) and len(set(ran[0] + ran[1])) == len(ran[0] + ran[1])
    last = max((tmp_path / name / "trials.csv" for name in "ab"), key=lambda x: len(x.read_text()))
    with last.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [int(x["number"]) for x in table] == list(range(len(table)))
    assert 20 <= len(table) <= 21 and {x["state"] for x in table} == {"complete"}

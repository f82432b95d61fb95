"""Comparisons: the runs that are made, tuned learning rates, failures, interrupts, files.

Where what a run learns is not the subject, a function that computes a loss takes its place.
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest

import trainlib as tl
from trainlib.experiment.comparison import running
from trainlib.experiment.comparison.compare import ComparisonInterrupted
from trainlib.tools.comparison import SeedRun

BASE = tl.ExperimentConfig(
    data=tl.DataConfig(train_examples=64),
    model=tl.config("mlp", hidden=[8]),
    epochs=2,
    execution="graph",
    report=False,
)
OPTIMIZERS = tl.vary(BASE, "optimizer={sgd,momentum,adam}")
BEST_RATE = {"sgd": 0.1, "momentum": 0.03, "adam": 0.001}


@pytest.fixture
def made(monkeypatch):
    """The (optimizer, seed, learning rate) of each run; its loss is near 0 at the best rate."""
    runs = []

    def run_one(worker, config):
        options = config.optimizer.hyperparameters
        name = "momentum" if options.get("momentum") else config.optimizer.name
        rate = options.get("learning_rate", 1.0)
        runs.append((name, config.seed, rate))
        loss = abs(math.log(rate / BEST_RATE[name])) + 0.01 * len(name) + 0.001 * config.seed**2
        history = [{"epoch": 1, "loss": loss, "val_loss": loss, "seconds": 1.0}]
        return SeedRun(config.seed, history, {"loss": loss}, {"loss": loss}, 1.0)

    monkeypatch.setattr(running, "run_one", run_one)
    return runs


def rows(path):
    """The rows of a table."""
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_comparison_trains_each_contender_with_each_seed_as_run_trial_does(tmp_path):
    configs = tl.vary(BASE, "optimizer={sgd,adam}")
    found = tl.compare(configs, seeds=2, run_dir=tmp_path)
    for contender in found.contenders:
        assert [run.seed for run in contender.runs] == [0, 1]
        assert [len(run.history) for run in contender.runs] == [2, 2]
    expected = tl.run_trial(replace(configs["adam"], seed=1))
    (run,) = [x.runs[1] for x in found.contenders if x.name == "adam"]
    assert run.validation == pytest.approx(expected.validation, rel=1e-6)
    assert run.test == pytest.approx(expected.test, rel=1e-6)
    best = min(found.contenders, key=lambda x: x.monitored("val_loss").mean())
    assert found.best is best
    (difference,) = found.differences
    a, b = (x.values("test", "loss") for x in found.contenders)
    assert difference.paired.mean == pytest.approx((a - b).mean())


def test_each_contender_runs_at_the_learning_rate_that_was_best_for_the_first_seed(made, tmp_path):
    rates = (0.001, 0.03, 0.1)
    options = tl.CompareConfig(tune_learning_rate=True, learning_rates=rates)
    found = tl.compare(OPTIMIZERS, 3, options, run_dir=tmp_path)
    assert {x.name: x.learning_rate for x in found.contenders} == BEST_RATE
    assert made[:9] == [(name, 0, rate) for name in OPTIMIZERS for rate in rates]
    assert made[9:] == [(name, seed, BEST_RATE[name]) for seed in (1, 2) for name in OPTIMIZERS]
    assert found.configs["momentum"].optimizer.hyperparameters["learning_rate"] == 0.03
    flags = (tmp_path / "flags" / "momentum.txt").read_text()
    assert tl.ExperimentConfig.from_flags(flags) == found.configs["momentum"]
    assert [x.is_rate_at_end for x in found.contenders] == [
        x.name != "momentum" for x in found.contenders
    ]


def test_the_tables_hold_all_runs_and_all_pairs(made, tmp_path):
    tl.compare(OPTIMIZERS, 2, run_dir=tmp_path)
    runs = rows(tmp_path / "results.csv")
    assert [(x["contender"], x["seed"]) for x in runs[:2]] == [(runs[0]["contender"], "0")] + [
        (runs[0]["contender"], "1")
    ]
    assert len(runs) == 6 and {x["rank"] for x in runs} == {"1", "2", "3"}
    assert float(runs[0]["validation_loss"]) == float(runs[0]["test_loss"])
    pairs = rows(tmp_path / "differences.csv")
    assert len(pairs) == 3 and pairs[0]["pairs"] == "2"
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["best"] == runs[0]["contender"] and summary["tested_on"] == "test"


def test_an_interrupted_comparison_is_resumed_with_the_runs_that_are_left(made, tmp_path):
    def interrupt(status):
        if status.finished == 3:
            raise KeyboardInterrupt

    with pytest.raises(ComparisonInterrupted) as caught:
        tl.compare(OPTIMIZERS, 2, run_dir=tmp_path, on_run=interrupt)
    assert (caught.value.finished, caught.value.runs) == (3, 6)
    path = tmp_path / "runs.jsonl"
    path.write_text(path.read_text() + '{"contender": "sgd", "se')  # not written to its end
    statuses = []
    found = tl.compare(OPTIMIZERS, 3, run_dir=tmp_path, resume=True, on_run=statuses.append)
    assert len(made) == 9 and len(set(made)) == 9
    assert [x.finished for x in statuses] == [4, 5, 6, 7, 8, 9] and statuses[0].runs == 9
    assert all(len(x.runs) == 3 for x in found.contenders)


def test_a_resumed_comparison_is_the_same_one(made, tmp_path):
    tl.compare(OPTIMIZERS, 1, run_dir=tmp_path)
    others = tl.vary(BASE, "optimizer={sgd,nadam}")
    with pytest.raises(ValueError, match="other contenders"):
        tl.compare(others, 1, run_dir=tmp_path, resume=True)
    options = tl.CompareConfig(monitor="val_accuracy")
    with pytest.raises(ValueError, match="monitor is val_loss in the comparison"):
        tl.compare(OPTIMIZERS, 1, options, run_dir=tmp_path, resume=True)


def test_failed_and_diverged_contenders_are_kept_and_failed_runs_repeated(monkeypatch, tmp_path):
    calls = []

    def run_one(worker, config):
        name, seed = config.optimizer.name, config.seed
        calls.append((name, seed))
        if name == "adam" and seed == 1:
            raise RuntimeError("broken")
        loss = np.nan if name == "nadam" else 1.0 + seed
        return SeedRun(seed, [{"epoch": 1, "loss": loss}], {"loss": loss})

    monkeypatch.setattr(running, "run_one", run_one)
    configs = tl.vary(BASE, "optimizer={nadam,adam,sgd,adagrad}")
    found = tl.compare(configs, 2, run_dir=tmp_path)
    assert {x.name: x.status("val_loss") for x in found.contenders[2:]} == {
        "nadam": "2 of 2 diverged",
        "adam": "1 of 2 failed",
    }
    assert [(x.first, x.second) for x in found.differences] == [("sgd", "adagrad")]
    calls.clear()
    tl.compare(configs, 2, run_dir=tmp_path, resume=True)
    assert calls == [("adam", 1)]


def test_a_contender_that_diverges_at_every_learning_rate_is_not_run_further(monkeypatch, tmp_path):
    def run_one(worker, config):
        loss = np.nan if config.optimizer.name == "sgd" else 1.0
        return SeedRun(config.seed, [{"epoch": 1, "loss": loss}], {"loss": loss})

    monkeypatch.setattr(running, "run_one", run_one)
    options = tl.CompareConfig(tune_learning_rate=True, learning_rates=(0.1, 1.0))
    found = tl.compare(tl.vary(BASE, "optimizer={sgd,adam}"), 2, options, run_dir=tmp_path)
    assert [x.name for x in found.contenders] == ["adam", "sgd"]
    assert found.contenders[1].status("val_loss") == "2 of 2 diverged"


def test_a_comparison_of_which_all_runs_fail_is_an_error(monkeypatch, tmp_path):
    def run_one(worker, config):
        raise RuntimeError("broken")

    monkeypatch.setattr(running, "run_one", run_one)
    with pytest.raises(RuntimeError, match="all runs have failed; sgd: RuntimeError: broken"):
        tl.compare(OPTIMIZERS, 1, run_dir=tmp_path)


FOCAL = replace(BASE, loss="categorical_focal_crossentropy")
REFUSED = {
    "one contender": ({"a": BASE}, {}, "two contenders"),
    "other data": ({"a": BASE, "b": replace(BASE, dataset="california_housing")}, {}, "same data"),
    "another seed": ({"a": BASE, "b": replace(BASE, seed=1)}, {}, "same data"),
    "another loss": ({"a": BASE, "b": FOCAL}, {}, "differ in the loss"),
    "a penalty": ({"a": BASE, "b": replace(BASE, regularizer=tl.config("l2"))}, {}, "differ in"),
    "no such result": (OPTIMIZERS, {"monitor": "val_auc"}, "reports val_loss, val_accuracy"),
    "an ensemble": (
        {"a": BASE, "b": replace(BASE, ensemble=tl.EnsembleConfig(members=2))},
        {},
        "b: each run trains one model",
    ),
    "several workers": (
        {"a": BASE, "b": replace(BASE, strategy="multi_worker")},
        {},
        "^b is trained on one machine",
    ),
    "no such baseline": (OPTIMIZERS, {"baseline": "nadam"}, "choose from sgd, momentum, adam"),
    "a learning rate": (
        tl.vary(BASE, "learning_rate={0.1,0.2}"),
        {"tune_learning_rate": True},
        "leave learning_rate=0.1 out",
    ),
}


@pytest.mark.parametrize(("configs", "options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_compared_is_refused_before_anything_is_written(
    configs, options, message, tmp_path
):
    with pytest.raises(ValueError, match=message):
        tl.compare(configs, 1, tl.CompareConfig(**options), run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


METRIC = """
import tensorflow as tf


def closeness(y_true, y_pred):
    return 1 / (1 + tf.reduce_sum(y_pred**2, axis=-1))
"""


def test_a_custom_metric_ranks_contenders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "compared_metric.py").write_text(METRIC)
    base = replace(BASE, metrics=("compared_metric:closeness",), epochs=1)
    options = tl.CompareConfig(monitor="val_closeness", monitor_mode="max")
    found = tl.compare(tl.vary(base, "optimizer={sgd,adam}"), 1, options, run_dir=tmp_path / "a")
    means = [x.monitored("val_closeness").mean() for x in found.contenders]
    assert means == sorted(means, reverse=True) and 0 < means[-1] < means[0]
    message = "reports val_loss, val_closeness"
    with pytest.raises(ValueError, match=message):
        tl.compare(tl.vary(base, "optimizer={sgd,adam}"), 1, tl.CompareConfig(monitor="val_auc"))


def test_another_loss_is_compared_by_a_result_of_all(made, tmp_path, monkeypatch):
    options = tl.CompareConfig(monitor="val_accuracy")
    configs = {"a": OPTIMIZERS["sgd"], "b": replace(BASE, regularizer=tl.config("l2"))}
    tl.compare(configs, 1, options, run_dir=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"monitor": "loss"}, "monitor must be a result on the validation data"),
        ({"monitor": "val_mine"}, "give monitor_mode"),
        ({"learning_rates": (0.1,)}, "learning_rates must be at least two"),
        ({"learning_rates": (0.1, -1.0)}, "learning_rates must be at least two"),
        ({"jobs": 0}, "jobs"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tl.CompareConfig(**options)

"""The history as a file."""

from __future__ import annotations

import csv
import json

import pytest

from trainlib.callbacks import CSVLogger, JSONLLogger, TrainingStatus

HISTORY = [{"epoch": i, "step": 10 * i, "loss": 1 / (3 * i), "seconds": 0.1} for i in (1, 2, 3)]


def status(epochs):
    """The status after a number of epochs."""
    return TrainingStatus(epochs, 3, 10, 10, 10 * epochs, HISTORY[:epochs], dict, state=None)


def lines(path):
    text = path.read_text(encoding="utf-8")
    assert text == "" or text.endswith("}\n")
    return [json.loads(line) for line in text.splitlines()]


def test_each_epoch_is_an_object_on_one_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    callback = JSONLLogger(path)
    callback.on_train_begin(status(0))
    assert lines(path) == []
    for count in (1, 2, 3):
        callback.on_train_batch_end(status(count - 1))
        callback.on_epoch_end(status(count))
        assert lines(path) == HISTORY[:count]
    callback.on_train_end(status(3))
    assert lines(path) == HISTORY
    assert list(lines(path)[0]) == ["epoch", "step", "loss", "seconds"]


def test_a_resumed_run_keeps_the_epochs_up_to_its_checkpoint_only(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in HISTORY), encoding="utf-8")
    callback = JSONLLogger(path)
    callback.on_train_begin(status(1))
    assert lines(path) == HISTORY[:1]
    callback.on_epoch_end(status(2))
    assert lines(path) == HISTORY[:2]


def test_a_result_that_is_not_finite_is_null_in_a_resumed_run_too(tmp_path):
    path = tmp_path / "metrics.jsonl"
    history = [{"epoch": 1, "loss": float("nan"), "matrix": [[float("inf"), 1.0]]}]
    nonfinite = status(1)._replace(history=history)
    callback = JSONLLogger(path)
    callback.on_train_begin(nonfinite)
    callback.on_epoch_end(nonfinite)
    expected = {"epoch": 1, "loss": None, "matrix": [[None, 1.0]]}
    assert lines(path) == [expected, expected]


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def as_text(history):
    return [{name: str(x) for name, x in line.items()} for line in history]


def test_the_table_has_a_row_per_epoch_and_continues_with_a_resumed_run(tmp_path):
    path = tmp_path / "metrics.csv"
    for start, stop in ((0, 3), (1, 2)):
        callback = CSVLogger(path)
        callback.on_train_begin(status(start))
        for count in range(start + 1, stop + 1):
            callback.on_epoch_end(status(count))
            assert table(path) == as_text(HISTORY[:count])
    assert path.read_text().startswith("epoch,step,loss,seconds\n1,10,0.333")


def test_a_later_result_adds_a_column_and_matrices_have_none(tmp_path):
    path = tmp_path / "metrics.csv"
    history = [{"loss": 1.0, "matrix": [[1.0]]}, {"loss": 2.0, "overflowed": "a/b, c"}]
    callback = CSVLogger(path)
    callback.on_train_begin(status(0))
    for count in (1, 2):
        callback.on_epoch_end(status(count)._replace(history=history[:count]))
    assert table(path) == [
        {"loss": "1.0", "overflowed": ""},
        {"loss": "2.0", "overflowed": "a/b, c"},
    ]


@pytest.mark.parametrize("logger", [JSONLLogger, CSVLogger])
def test_the_first_of_several_workers_writes(logger, tmp_path):
    other = logger(tmp_path / "metrics")
    other.on_train_begin(status(0)._replace(is_chief=False))
    other.on_epoch_end(status(1)._replace(is_chief=False))
    assert not other.path.exists()


@pytest.mark.parametrize("logger", [CSVLogger, JSONLLogger])
def test_a_missing_folder_is_made(logger, tmp_path):
    path = tmp_path / "runs" / "first" / "metrics"
    callback = logger(path)
    callback.on_train_begin(status(0))
    callback.on_epoch_end(status(1))
    assert "0.333" in path.read_text(encoding="utf-8")

"""How a run is shown: plain lines, or a progress bar on a terminal."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from trainlib.callbacks import LineLogger, ProgressBar, TrainingStatus
from trainlib.training import display as display_module
from trainlib.training.display import format_results

RESULTS = {
    "epoch": 3,
    "step": 3750,
    "loss": 0.301249,
    "accuracy": 0.8921,
    "val_loss": 12.5,
    "learning_rate": 0.001,
    "seconds": 0.5,
}
FORMATTED = "loss 0.3012  accuracy 0.8921  val_loss 12.5  learning_rate 0.001"
SO_FAR = {"loss": 0.75, "learning_rate": 0.0625}


def progress(epoch=3, epochs=12, batch=1250, metrics=lambda: SO_FAR):
    return TrainingStatus(epoch, epochs, batch, 1250, 5000, [RESULTS], metrics, state=None)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        (RESULTS, FORMATTED),
        ({}, ""),
        ({"loss": 1234567.0}, "loss 1.235e+06"),
        ({"loss": 1e-7, "seconds": 1}, "loss 1e-07"),
        ({"loss": float("nan")}, "loss nan"),
        (
            {"loss": 0.5, "confusion_matrix": [[3.0, 1.0], [0.0, 2.0]], "auc": 1.0},
            "loss 0.5  auc 1",
        ),
    ],
)
def test_results_are_formatted_on_one_line(results, expected):
    assert format_results(results) == expected


@pytest.mark.parametrize(
    ("epoch", "epochs", "label"), [(3, 5, "3/5"), (3, 12, " 3/12"), (12, 12, "12/12")]
)
def test_a_line_is_printed_per_epoch(epoch, epochs, label):
    stream = io.StringIO()
    lines = LineLogger(stream)
    lines.on_train_batch_end(progress(epoch, epochs))
    assert stream.getvalue() == ""
    lines.on_epoch_end(progress(epoch, epochs))
    lines.on_train_end(progress())
    assert stream.getvalue() == f"epoch {label}  {FORMATTED}  2,500 steps/s\n"


def test_lines_prints_to_standard_output(capsys):
    LineLogger().on_epoch_end(progress())
    assert capsys.readouterr() == (f"epoch  3/12  {FORMATTED}  2,500 steps/s\n", "")


class Clock:
    """A clock that each look moves on by a second."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        self.now += 1
        return self.now


@pytest.fixture
def screen(monkeypatch):
    """A bar, and what it has drawn since the last call, on lines without colours and moves."""
    monkeypatch.setattr(display_module, "time", Clock())
    stream = io.StringIO()
    bar = ProgressBar(Console(file=stream, force_terminal=True, width=120))
    bar.bar.live.auto_refresh = False

    def drawn():
        bar.bar.refresh()
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
        stream.seek(0)
        stream.truncate()
        return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]

    yield bar, drawn
    bar.on_train_end(progress())


def test_the_bar_shows_epoch_steps_and_results(screen):
    bar, drawn = screen
    bar.on_train_batch_end(progress(batch=10))
    assert re.fullmatch(r"epoch 3/12 .* +10/1250 .* loss 0.75  learning_rate 0.0625", drawn()[-1])
    # The clock has moved by a second since the first 10 steps, in which 615 were made.
    bar.on_train_batch_end(progress(batch=625))
    assert re.fullmatch(
        r"epoch 3/12 .* +625/1250 .* loss 0.75  learning_rate 0.0625  615 steps/s", drawn()[-1]
    )


def test_a_bar_that_begins_within_an_epoch_counts_its_own_steps(screen):
    bar, drawn = screen
    bar.on_train_batch_end(progress(batch=600))
    bar.on_train_batch_end(progress(batch=625))
    assert re.fullmatch(r"epoch 3/12 .* +625/1250 .*  25 steps/s", drawn()[-1])


def test_results_are_fetched_at_intervals(screen, monkeypatch):
    bar, drawn = screen
    asked = []
    monkeypatch.setattr(bar, "SECONDS_BETWEEN_RESULTS", 2.5)
    for batch in (1, 2, 3, 4):
        bar.on_train_batch_end(progress(batch=batch, metrics=lambda: asked.append(1) or SO_FAR))
    assert len(asked) == 2
    assert " 4/1250 " in drawn()[-1]


def test_a_finished_epoch_leaves_its_line_above_the_next_bar(screen):
    bar, drawn = screen
    bar.on_train_batch_end(progress())
    drawn()
    bar.on_epoch_end(progress())
    lines = drawn()
    assert f"epoch  3/12  {FORMATTED}  2,500 steps/s" in lines
    assert re.match(r"epoch 4/12 .* +0/1250 ", lines[-1])
    assert "loss" not in lines[-1]


def test_no_epoch_after_the_last_is_announced(screen):
    bar, drawn = screen
    bar.on_train_batch_end(progress(epoch=12))
    bar.on_epoch_end(progress(epoch=12))
    bar.on_train_end(progress())
    assert not any("13/12" in line for line in drawn())


def test_a_bar_can_show_a_second_run(screen):
    bar, drawn = screen
    for epochs in (1, 2):
        bar.on_train_batch_end(progress(1, epochs, batch=5))
        assert f"epoch 1/{epochs} " in drawn()[-1]
        bar.on_epoch_end(progress(1, epochs))
        bar.on_train_end(progress())
        drawn()
    assert bar.bar.tasks == []


def test_a_bar_can_end_before_its_first_batch(screen):
    bar, drawn = screen
    bar.on_train_end(progress())
    assert drawn() == []


def test_without_a_terminal_only_the_lines_are_written():
    stream = io.StringIO()
    bar = ProgressBar(Console(file=stream, force_terminal=False, width=120))
    bar.on_train_batch_end(progress())
    bar.on_epoch_end(progress())
    bar.on_train_end(progress())
    assert stream.getvalue().strip() == f"epoch  3/12  {FORMATTED}  2,500 steps/s"


@pytest.mark.parametrize(
    ("width", "shown"),
    [(120, ["loss 0.75", "learning_rate 0.0625", "615 steps/s"]), (80, ["loss 0.75"]), (42, [])],
)
def test_a_narrow_terminal_keeps_epoch_count_and_time_and_drops_results(width, shown, monkeypatch):
    monkeypatch.setattr(display_module, "time", Clock())
    stream = io.StringIO()
    bar = ProgressBar(Console(file=stream, force_terminal=True, width=width))
    bar.bar.live.auto_refresh = False
    for batch in (10, 625):
        bar.on_train_batch_end(progress(batch=batch))
    bar.bar.refresh()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    bar.on_train_end(progress())
    last = [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()][-1]
    assert len(last) <= width and "…" not in last
    assert last.startswith("epoch 3/12 ")
    assert re.search(r" +625/1250 [-\d:]{5}", last)
    for text in ("loss 0.75", "learning_rate 0.0625", "615 steps/s"):
        assert (text in last) == (text in shown)

"""The epochs of the snapshots of an ensemble."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.experiments import QUICK, experiment

import trainlib as tl
from trainlib.experiment import run_folder
from trainlib.experiment.ensemble_snapshots import cycle_ends


@pytest.mark.parametrize(
    "flags, ends",
    [
        (["--epochs=6"], [2, 4, 6]),
        (["--epochs=7", "--schedule=cosine_decay_restarts", "--first_decay_steps=10"], [1, 3, 7]),
        (
            ["--epochs=9", "--schedule=cosine_decay_restarts", "--first_decay_steps=20",
             "--t_mul=1"],
            [4, 6, 8],
        ),
        (
            ["--epochs=8", "--schedule=cosine_decay_restarts", "--first_decay_steps=20",
             "--t_mul=1", "--warmup_steps=10"],
            [3, 5, 7],
        ),
        (
            ["--epochs=8", "--schedule=cosine_decay_restarts", "--first_decay_steps=2",
             "--t_mul=1", "--warmup_steps=1", "--per_epoch"],
            [3, 5, 7],
        ),
    ],
)  # fmt: skip
def test_snapshots_are_taken_at_the_ends_of_the_last_cycles(
    flags: list[str], ends: list[int]
) -> None:
    config = experiment("--ensemble=3", "--ensemble_by=snapshot", *flags)
    assert cycle_ends(config, updates=10) == ends


def test_cycles_that_end_within_an_epoch_are_refused() -> None:
    config = experiment(
        "--ensemble=2", "--ensemble_by=snapshot", "--schedule=cosine_decay_restarts",
        "--first_decay_steps=15",
    )  # fmt: skip
    with pytest.raises(ValueError, match="as many ends of whole epochs"):
        cycle_ends(config, updates=10)


def test_cycles_count_updates_where_gradients_are_accumulated(tmp_path: Path) -> None:
    # 64 examples in batches of 8, 2 of them an update: 4 updates per epoch
    flags = (*QUICK, "--batch_size=8", "--gradient_accumulation_steps=2", "--ensemble=2")
    config = experiment(*flags, "--ensemble_by=snapshot", "--epochs=2")
    result = tl.run_ensemble(config, tmp_path / "a")
    member = run_folder.read_config(result.folder / "members" / "2")
    assert member.schedule.schedules[0].hyperparameters["first_decay_steps"] == 4


CALLBACK = """
import trainlib as tl


class StopEarly(tl.callbacks.Callback):
    def on_epoch_end(self, status):
        return tl.callbacks.Stop("enough") if status.epoch == 3 else None
"""


def test_a_callback_that_ends_the_run_is_named_before_a_member_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "snapshot_callbacks.py").write_text(CALLBACK)
    callback = "--callbacks=snapshot_callbacks:StopEarly"
    config = experiment(*QUICK, "--ensemble=2", "--ensemble_by=snapshot", "--epochs=4", callback)
    with pytest.raises(ValueError, match="ended by 'enough' after 3 epochs, .* snapshots after 4"):
        tl.run_ensemble(config, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_given_cycles_are_checked_in_updates(tmp_path: Path) -> None:
    flags = (*QUICK, "--batch_size=8", "--gradient_accumulation_steps=2", "--epochs=2")
    schedule = ("--schedule=cosine_decay_restarts", "--first_decay_steps=4", "--t_mul=1")
    config = experiment(*flags, "--ensemble=2", "--ensemble_by=snapshot", *schedule)
    folder = tl.run_ensemble(config, tmp_path / "a").folder
    epochs = [run_folder.read_summary(folder / "members" / x)["epochs"] for x in ("1", "2")]
    assert epochs == [1, 2]

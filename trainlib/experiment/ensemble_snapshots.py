"""Snapshot ensembles: the states of one run at the ends of the cycles of its schedule."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainlib.callbacks import Callback
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.ensemble_members import (
    MemberState,
    history_loggers,
    member_config,
    new_member_folder,
    write_member,
)
from trainlib.experiment.functions import FunctionConfig
from trainlib.experiment.model_building import as_seen_by_loss
from trainlib.experiment.saved_run import build_evaluator
from trainlib.experiment.schedule_building import updates_per_epoch
from trainlib.experiment.schedule_config import ScheduleConfig
from trainlib.experiment.task import PARTS
from trainlib.experiment.training_data import steps_per_epoch
from trainlib.experiment.trial import run_trial
from trainlib.step.averages import averaged_weights
from trainlib.training.callback import TrainingStatus
from trainlib.training.model_variables import write_back

RESTARTS = "cosine_decay_restarts"
"""The schedule whose cycles end in snapshots."""


def cycle_ends(config: ExperimentConfig, updates: int) -> list[int]:
    """Return the epochs, from 1, after which the snapshots of an ensemble are taken.

    Args:
        config: configuration of the ensemble.
        updates: updates per epoch, as the schedule counts them.

    Raises:
        ValueError: a cycle does not end at the end of an epoch, or there are fewer cycles than
            members.
    """
    members, epochs = config.ensemble.members, config.epochs
    schedule = config.schedule
    chosen = schedule.schedules[0]
    names = [x.name for x in schedule.schedules]
    if names == ["constant"] and schedule.warmup is None:
        if epochs % members:
            raise ValueError(
                f"epochs is {epochs}, which {members} snapshots do not divide: give a multiple"
            )
        return [epochs // members * (i + 1) for i in range(members)]
    if names != [RESTARTS]:
        raise ValueError(
            f"ensemble_by=snapshot needs schedule {RESTARTS}: choose it, or leave the schedule and "
            "its warm-up out"
        )
    length = float(chosen.hyperparameters.get("first_decay_steps", 0))
    factor = float(chosen.hyperparameters.get("t_mul", 2.0))
    warmup = {} if schedule.warmup is None else schedule.warmup.hyperparameters
    ends, end = [], float(warmup.get("warmup_steps", 0))  # the first cycle follows the warm-up
    while length and (end := end + length) / (1 if schedule.per_epoch else updates) <= epochs:
        ends.append(end / (1 if schedule.per_epoch else updates))
        length *= factor
    if len(ends) < members or any(x != int(x) for x in ends[-members:]):
        raise ValueError(
            f"warmup_steps, first_decay_steps and t_mul make cycles that end after {ends} epochs: "
            f"{members} snapshots need as many ends of whole epochs"
        )
    return [int(x) for x in ends[-members:]]


def snapshot_config(config: ExperimentConfig, updates: int) -> ExperimentConfig:
    """Return the configuration of the run whose states are the snapshots, with its schedule."""
    one = member_config(config, 0)
    if config.schedule.schedules[0].name == RESTARTS:
        return one
    steps = cycle_ends(config, updates)[0] * updates
    options: dict[str, Any] = {"first_decay_steps": steps, "t_mul": 1.0, "m_mul": 1.0}
    return dataclasses.replace(
        one, schedule=ScheduleConfig(schedules=FunctionConfig(RESTARTS, options))
    )


class Snapshots(Callback):
    """Callback that stores the weights after some epochs, and writes the history so far.

    Args:
        epochs: numbers of the epochs.
        folders: a folder for the history of each snapshot.

    Attributes:
        found: for each snapshot, parameters and other state of the model, NumPy arrays by path.
    """

    def __init__(self, epochs: Sequence[int], folders: Sequence[Path]) -> None:
        self.folders = dict(zip(epochs, folders, strict=True))
        self.found: list[tuple[Any, Any]] = []

    def on_epoch_end(self, status: TrainingStatus) -> None:
        """Store the weights if a snapshot is due."""
        if (folder := self.folders.get(status.epoch)) is None:
            return
        params, model_state = (
            {path: x.numpy() for path, x in part.items()}
            for part in averaged_weights(status.state())
        )
        self.found.append((params, model_state))
        for logger in history_loggers(folder):
            logger.on_train_begin(status)


def train_snapshots(state: MemberState) -> None:
    """Train the run whose states are the snapshots, and write a folder for each snapshot.

    Raises:
        ValueError: a callback ended the run before the last snapshot.
    """
    task = state.task
    updates = updates_per_epoch(state.config, steps_per_epoch(state.config, task))
    config = snapshot_config(state.config, updates)
    ends = cycle_ends(state.config, updates)
    folders = [new_member_folder(state, index, config) for index in range(len(ends))]
    snapshots = Snapshots(ends, folders)
    trial = run_trial(config, task, pool=state.pool, callbacks=[snapshots])
    if len(snapshots.found) < len(ends):
        reason = "" if trial.stop is None else f" by {trial.stop.reason!r}"
        raise ValueError(
            f"ensemble_by=snapshot: the run was ended{reason} after {len(trial.history)} epochs, "
            f"before the last of {len(ends)} snapshots after {ends[-1]}: leave out the callback "
            "that ends it"
        )
    for folder, end, found in zip(folders, ends, snapshots.found, strict=True):
        model = trial.build_model()
        write_back(model, *found)
        evaluator = build_evaluator(config, task, as_seen_by_loss(model, task, config.from_logits))
        parts = {name: getattr(task, name) for name in PARTS}
        results: dict[str, Any] = {
            name: None if part is None else evaluator.evaluate(task.arrays(part))
            for name, part in parts.items()
        }
        write_member(folder, task, trial, model, trial.history[:end], results)

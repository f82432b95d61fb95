"""Checks that an ensemble can be trained and averaged, before its folder is written."""

from __future__ import annotations

from trainlib.experiment.calibration import check_calibration
from trainlib.experiment.checkpoint_config import CheckpointConfig
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.data_config import DataConfig
from trainlib.experiment.ensemble_members import member_config, member_task
from trainlib.experiment.ensemble_scores import likelihood_of
from trainlib.experiment.ensemble_snapshots import cycle_ends
from trainlib.experiment.model_building import build_models
from trainlib.experiment.range_test import is_rate_auto
from trainlib.experiment.schedule_building import updates_per_epoch
from trainlib.experiment.targets import INPUTS
from trainlib.experiment.task import Task
from trainlib.experiment.training import build_trainer, training_callbacks
from trainlib.experiment.training_data import steps_per_epoch
from trainlib.experiment.trial import check_one_machine, check_trial
from trainlib.models import LOGITS_ACTIVATIONS


def check_ensemble(config: ExperimentConfig, task: Task) -> None:
    """Raise `ValueError` for an ensemble that cannot be trained or averaged.

    Args:
        config: configuration of the ensemble.
        task: data of the ensemble, with its loss and targets.
    """
    ensemble = config.ensemble
    if ensemble.is_one:
        raise ValueError("ensemble is 1, which is no ensemble: give at least 2")
    _check_settings(config)
    if task.is_streamed:
        raise ValueError(
            "ensemble needs all training examples in memory: leave out stream_pipeline"
        )
    if task.signature.outputs:
        raise ValueError("ensemble is for models of one output: leave out auxiliary_output")
    if task.target.form == INPUTS:
        raise ValueError("ensemble is for classifiers and regressors, not for autoencoders")
    if ensemble.average == "logits" and task.target.activation not in LOGITS_ACTIVATIONS:
        raise ValueError(
            f"ensemble_average=logits is for losses of probabilities, which {task.loss} is not"
        )
    if ensemble.weights != "equal" and likelihood_of(task) is None:
        raise ValueError(
            f"ensemble_weights={ensemble.weights} needs probabilities, which loss {task.loss} does "
            "not give: use equal"
        )
    if ensemble.weights != "equal" and task.validation is None:
        raise ValueError(
            f"ensemble_weights={ensemble.weights} needs validation data: validation_split above 0"
        )
    if ensemble.by == "fold" and ensemble.members > task.train.size:
        raise ValueError(
            f"ensemble is {ensemble.members}, but there are {task.train.size} training examples "
            "for as many folds"
        )
    for name in ("oversample", "group_column") if ensemble.by == "fold" else ():
        if getattr(config.data, name) != getattr(DataConfig(), name):
            raise ValueError(
                f"ensemble_by=fold divides single examples at random, which {name} does not allow: "
                "leave it out, or choose ensemble_by=seed"
            )
    if ensemble.by == "snapshot":
        cycle_ends(config, updates_per_epoch(config, steps_per_epoch(config, task)))
    _check_members(config, task)


def _check_settings(config: ExperimentConfig) -> None:
    """Raise `ValueError` for settings that contradict an ensemble."""
    check_one_machine("ensemble", config)
    if config.tensorboard is not None:
        raise ValueError("tensorboard is for single runs: leave it out for an ensemble")
    if config.checkpoints != CheckpointConfig():
        raise ValueError(
            "ensemble keeps finished members and no checkpoints: leave out the flags of checkpoints"
        )
    check_trial(config)
    if config.ensemble.by == "snapshot" and config.monitors:
        raise ValueError(
            f"ensemble_by=snapshot follows its schedule: leave out {config.monitors[0].name}"
        )


def _check_members(config: ExperimentConfig, task: Task) -> None:
    """Build one member of each configuration, so that errors are raised early."""
    for index in range(max(1, len(config.ensemble.configs))):
        one = member_config(config, index)
        own = member_task(config, task, index)
        built = build_models(one, own)
        check_calibration(config, task, built)
        if not is_rate_auto(one):
            build_trainer(one, own, built)
        training_callbacks(one, own, saves=False)

"""The trainer of a configuration, its callbacks and its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainlib.callbacks import (
    Callback,
    EarlyStopping,
    ReduceLROnPlateau,
    SaveBest,
    SaveEvery,
    TensorBoard,
    ValidationRatio,
)
from trainlib.callbacks.events import require_tensorboard
from trainlib.core.tree import kernels
from trainlib.core.types import Schedule
from trainlib.data import take
from trainlib.experiment.augmentation import build_augmentation
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.fields import plain_settings
from trainlib.experiment.flat import flatten
from trainlib.experiment.functions import AUTO
from trainlib.experiment.model_building import Models
from trainlib.experiment.model_signature import inputs_of, loss_weights_of, targets_of
from trainlib.experiment.objective_building import build_losses, build_metrics, build_regularizer
from trainlib.experiment.optimization import Optimization, average_of_run, build_optimization
from trainlib.experiment.patterns import naming_patterns
from trainlib.experiment.result import Log
from trainlib.experiment.run_folder import CHECKPOINTS
from trainlib.experiment.task import Task
from trainlib.experiment.tensorboard_config import TensorBoardConfig
from trainlib.experiment.training_data import steps_per_epoch
from trainlib.experiment.transfer import unfreezing_callbacks
from trainlib.experiment.values import written
from trainlib.training.autotune import Autotuner
from trainlib.training.callback import as_callback
from trainlib.training.checkpoints import Checkpoints
from trainlib.training.display import LoggedLines
from trainlib.training.files import check_can_write
from trainlib.training.paths import existing_part
from trainlib.training.pool import SharedPrograms
from trainlib.training.trainer import Trainer
from trainlib.user_code import import_function

MONITORS: dict[str, Any] = {"reduce_on_plateau": ReduceLROnPlateau, "early_stop": EarlyStopping}
"""The callbacks of the registry's monitors."""
TENSORBOARD = "tensorboard"
"""The folder for TensorBoard in a run folder."""
DEFAULT = ExperimentConfig()
"""A configuration without settings."""
EXAMPLES = 1000
"""Number of examples that TensorBoard shows."""


def build_trainer(
    config: ExperimentConfig,
    task: Task,
    built: Models,
    shared: SharedPrograms | None = None,
    autotuner: Autotuner | None = None,
) -> tuple[Trainer, Optimization]:
    """Return the trainer of a configuration, and its optimizer with hyperparameters for reports.

    Args:
        config: the experiment; its learning rate is not "auto".
        task: data of the experiment, with its loss and targets.
        built: the model, as built by `build_models`.
        shared: programs that the trainer shares with others. Default: None, not shared.
        autotuner: chooses the execution "auto" of a long run. Default: None, that of `Trainer`.
    """
    steps = steps_per_epoch(config, task)
    optimization = build_optimization(config, steps, shared, built.plan.rules)
    with naming_patterns(config):
        trainer = Trainer(
            built.trained,
            build_losses(config, task, built.from_logits),
            optimization.optimizer,
            metrics=build_metrics(config, task, built.from_logits),
            loss_weights=loss_weights_of(config, task.signature),
            regularizer=build_regularizer(config, shared),
            regularizer_mask=config.regularized_params or kernels,
            seed=config.seed,
            precision=config.precision,
            strategy=config.strategy,
            replicas=config.replicas,
            execution=config.execution,
            gradient_checkpointing=config.gradient_checkpointing,
            nonfinite=config.nonfinite,
            norms=config.reports_norms,
            augment=build_augmentation(config, task),
            average=average_of_run(config, steps),
            report=_reported(config, optimization),
            shared=shared,
            autotuner=autotuner or Autotuner(),
        )
    return trainer, optimization


def _reported(config: ExperimentConfig, optimization: Optimization) -> dict[str, Schedule]:
    """Return the schedule that each epoch reports; a constant one is computed once."""
    if optimization.schedule is None:
        return {}
    moves = config.transfer.unfrozen_learning_rate is not None
    if config.schedule != DEFAULT.schedule or moves:
        return {"learning_rate": optimization.schedule}
    rate = optimization.schedule(0)
    return {"learning_rate": lambda step: rate}


def training_callbacks(
    config: ExperimentConfig, task: Task, log: Log = lambda line: None, saves: bool = True
) -> list[Callback]:
    """Return the callbacks that act on a run: monitors, checkpoints, custom ones.

    Args:
        config: the experiment.
        task: data of the experiment, with its loss and targets.
        log: function called with lines on the progress of the run. Default: not called.
        saves: whether the run saves checkpoints. Default: True.
    """
    stream = LoggedLines(log)
    monitors = [MONITORS[x.name](**x.hyperparameters, stream=stream) for x in config.monitors]
    ratio = [ValidationRatio(log=log)] if config.validation_ratio else []
    saving = _saving(config, task) if saves else []
    unfreezing = unfreezing_callbacks(config, stream)
    return [*monitors, *ratio, *unfreezing, *saving, *_custom(config)]


def _saving(config: ExperimentConfig, task: Task) -> list[Callback]:
    when = config.checkpoints
    every = SaveEvery(epochs=when.epochs or None, steps=when.steps, seconds=when.seconds)
    best = when.best
    if best == AUTO:
        best = "none" if task.validation is None else "val_loss"
    if best == "none":
        return [every]
    try:
        return [every, SaveBest(best, when.best_mode)]
    except ValueError:
        raise ValueError(
            f"checkpoint_best {best}: the name does not say whether less or more is better: give "
            "checkpoint_best_mode, min or max"
        ) from None


def _custom(config: ExperimentConfig) -> list[Callback]:
    found = [import_function("callback", spec, config.code_path) for spec in config.callbacks]
    return [as_callback(one() if isinstance(one, type) else one) for one in found]


def build_checkpoints(config: ExperimentConfig, folder: Path, resume: bool = False) -> Checkpoints:
    """Return the checkpoints in a run folder."""
    metadata = {"config": config.to_json()}
    return Checkpoints(
        folder / CHECKPOINTS, config.checkpoints.keep, resume=resume, metadata=metadata
    )


def check_tensorboard(config: ExperimentConfig) -> None:
    """Raise `ValueError` if TensorBoard is configured but not installed, or cannot be written."""
    if config.tensorboard is not None:
        try:
            require_tensorboard()
        except ImportError as error:
            raise ValueError(f"tensorboard: {error}") from None
        if config.tensorboard.dir is not None:
            folder = existing_part(Path(config.tensorboard.dir))
            check_can_write("tensorboard_dir", folder / "a run")


def tensorboard_root(config: ExperimentConfig, folder: Path) -> Path:
    """Return the folder to start TensorBoard with: that of many runs, or one in the run folder."""
    many = config.tensorboard and config.tensorboard.dir
    return Path(many) if many else folder / TENSORBOARD


def tensorboard_callbacks(
    config: ExperimentConfig, folder: Path, task: Task, built: Models
) -> list[Callback]:
    """Return the callback for TensorBoard, if it is configured.

    Args:
        config: the experiment.
        folder: run folder of the experiment.
        task: data of the experiment, with its loss and targets.
        built: the model, as built by `build_models`.
    """
    wanted = config.tensorboard
    if wanted is None:
        return []
    to = tensorboard_root(config, folder)
    if wanted.dir is not None:
        to /= folder.resolve().name
    shown = task.train if task.validation is None else task.validation
    x, y, *_ = take(shown, min(EXAMPLES, shown.size))
    callback = TensorBoard(
        to,
        steps=wanted.steps,
        histogram_epochs=wanted.histogram_epochs,
        layer_statistics=wanted.layer_statistics,
        hyperparameters=_hyperparameters(config),
        examples=(inputs_of(task.signature, x), targets_of(task.signature, y)),
        model=built.trained,
    )
    return [callback]


def _hyperparameters(config: ExperimentConfig) -> dict[str, Any]:
    """Return the settings for TensorBoard's table of runs; lists as text."""
    hidden = {"tensorboard", *(s.flag for _, s in plain_settings(TensorBoardConfig))}
    return {
        name: written(value) if isinstance(value, tuple) else value
        for name, value in flatten(config).items()
        if name not in hidden and value != ()
    }

"""What `Trainer.fit` does with its arguments: the configuration of a training loop, and its run."""

from __future__ import annotations

from trainlib.training.autotune import Autotuner
from trainlib.training.callback import Results, as_callback
from trainlib.training.checkpoints import Checkpoints
from trainlib.training.context import TrainingContext
from trainlib.training.data_adapter import Data
from trainlib.training.evaluation import EVALUATION_BATCH_SIZE
from trainlib.training.fit_options import FitSettings
from trainlib.training.loop import FitConfig, TrainingLoop
from trainlib.training.nonfinite import callbacks_for_policy
from trainlib.training.options import TrainerSettings


def configure_fit(
    context: TrainingContext, data: Data, settings: FitSettings, trainer: TrainerSettings
) -> FitConfig:
    """Return what a training loop takes, for the arguments of `fit`.

    Args:
        context: that of the trainer.
        data: the training data.
        settings: the options of `fit`.
        trainer: the options of the trainer.
    """
    validation = None
    adapter = context.adapt("data", data, settings.batch_size, steps=settings.steps_per_epoch)
    if settings.validation_data is not None:
        validation = context.adapt(
            "validation_data", settings.validation_data, default=EVALUATION_BATCH_SIZE
        )
    return FitConfig(
        adapter,
        validation,
        settings.epochs,
        settings.shuffle,
        [*callbacks_for_policy(trainer.nonfinite), *map(as_callback, settings.callbacks)],
        trainer.seconds_per_call,
    )


def open_checkpoints(settings: FitSettings) -> Checkpoints | None:
    """Return the checkpoints of a `fit`.

    Raises:
        ValueError: they are those of another run, which is not to be resumed.
    """
    checkpoints = settings.checkpoints
    if checkpoints is None or isinstance(checkpoints, Checkpoints):
        found = checkpoints
    else:
        found = Checkpoints(checkpoints)
    if found is not None and not found.resume and found.positions():
        raise ValueError(
            f"checkpoints: {found.folder} holds those of another run: choose another "
            "folder, or resume that run by tl.Checkpoints(folder, resume=True)"
        )
    return found


def run_fit(
    context: TrainingContext,
    config: FitConfig,
    checkpoints: Checkpoints | None,
    autotuner: Autotuner,
) -> list[Results]:
    """Train, from the newest checkpoint where one is resumed, and return the history.

    Args:
        context: that of the trainer.
        config: of `configure_fit`.
        checkpoints: of `open_checkpoints`.
        autotuner: chooses the execution of a long run.
    """
    loop = TrainingLoop(context, config, checkpoints)
    if checkpoints is not None and checkpoints.resume:
        loop.resume()
    steps = config.epochs * (loop.steps_per_epoch or 0)
    chunks = context.tune(autotuner, loop.chunks(), steps)
    return loop.run(chunks)

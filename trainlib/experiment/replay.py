"""Repeat one step of a run, and summarize every tensor in it."""

from __future__ import annotations

from pathlib import Path

from trainlib.callbacks import NonFiniteError
from trainlib.core.checks import check_integer
from trainlib.data.preprocessing import read_preprocessing
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.model_building import build_models, matched_task
from trainlib.experiment.task import held_out
from trainlib.experiment.task_building import build_task
from trainlib.experiment.training import build_checkpoints, build_trainer, training_callbacks
from trainlib.experiment.training_data import training_data
from trainlib.training import replay
from trainlib.training.cluster import cluster
from trainlib.training.strategies import get_strategy
from trainlib.training.tensor_summary import format_table


def replay_step(config: ExperimentConfig, folder: Path, step: int) -> str:
    """Repeat one step of a run from the checkpoint before it, without writing files.

    Args:
        config: configuration of the run.
        folder: folder of the run.
        step: number of the batch, counted from 1 over the whole run.

    Returns:
        The position of the step, and a table with the range of each of its tensors.

    Raises:
        ValueError, TypeError: there is no such step, or this process is one of several workers.
    """
    check_integer("replay_step", step, at_least=1)
    workers = cluster()
    if workers and len(workers.addresses) > 1:
        raise ValueError("replay_step is for one process, not for several workers")
    task = build_task(config, read_preprocessing(folder))
    get_strategy(config.strategy, config.replicas)  # before TensorFlow uses the devices
    built = build_models(config, task)
    task = matched_task(task, built)
    data = training_data(config, task)
    trainer, _ = build_trainer(config, task, built)
    try:
        fit_config = trainer.fit_config(
            data,
            batch_size=config.batch_size,
            epochs=config.epochs,
            validation_data=held_out(task),
            callbacks=training_callbacks(config, task),
            verbose=0,
        )
        checkpoints = build_checkpoints(config, folder)
        found = replay.find_step(trainer.context, fit_config, step, checkpoints)
    except NonFiniteError as error:
        raise ValueError(f"replay_step {step}: the run ended before it: {error}") from None
    summaries = replay.replay_step(trainer.context, found)
    return f"{found.description}\n{format_table(summaries)}"

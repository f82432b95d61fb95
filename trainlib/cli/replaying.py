"""`train --replay_step`: a step of a run made once more, with the ranges of its tensors."""

from __future__ import annotations

from trainlib.callbacks import NonFiniteError
from trainlib.cli import build, training
from trainlib.cli.flag_types import Values
from trainlib.core.checks import check_integer
from trainlib.training import replay
from trainlib.training.cluster import cluster
from trainlib.training.strategies import get_strategy
from trainlib.training.tensor_summary import format_table


def replay_step(values: Values) -> None:
    """Prints the ranges of the tensors in a step of a run."""
    if not values.resume:
        raise ValueError("--replay_step needs --resume, the folder of the run")
    check_integer("replay_step", values.replay_step, at_least=1)
    workers = cluster()
    if workers and len(workers.addresses) > 1:
        raise ValueError("--replay_step is for one process, not for several workers")
    task = build.build_task(values)
    get_strategy(values.strategy, values.replicas)  # before TensorFlow begins
    built = build.build_models(values, task)
    data = build.class_weighted(values, task)
    trainer, _ = training.build_trainer(values, task, built)
    try:
        config = trainer.fit_config(
            data,
            batch_size=values.batch_size,
            epochs=values.epochs,
            validation_data=training.held_out(task),
            callbacks=training.training_callbacks(values, task),
        )
        checkpoints = training.checkpoints(values, None)
        found = replay.find_step(trainer.context, config, values.replay_step, checkpoints)
    except NonFiniteError as error:
        raise ValueError(
            f"replay_step {values.replay_step}: the run ended before it: {error}"
        ) from None
    summaries = replay.replay_step(trainer.context, found)
    print(f"{found.description}\n{format_table(summaries)}")

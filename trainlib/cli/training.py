"""What the flags of `train` train with: the trainer, its data, its callbacks, its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainlib.callbacks import Callback, EarlyStopping, ReduceLROnPlateau, SaveBest, SaveEvery
from trainlib.cli import build, run_folder
from trainlib.cli.flag_types import Values
from trainlib.cli.flags import AUTO, monitor_options
from trainlib.cli.optimization import Optimization, build_optimization
from trainlib.core.tree import kernels
from trainlib.training.callback import as_callback
from trainlib.training.checkpoints import Checkpoints
from trainlib.training.trainer import Trainer
from trainlib.user_code import import_object


def build_trainer(
    values: Values, task: build.Task, built: build.Models
) -> tuple[Trainer, Optimization]:
    """What the flags train with."""
    optimization = build_optimization(values, -(-task.train.size // values.batch_size))
    trainer = Trainer(
        built.trained,
        build.build_loss(values, task.loss, built.from_logits),
        optimization.optimizer,
        metrics=build.build_metrics(values, task, built.from_logits),
        regularizer=build.build_regularizer(values),
        regularizer_mask=values.regularized_params or kernels,
        seed=values.seed,
        precision=values.precision,
        strategy=values.strategy,
        replicas=values.replicas,
        execution=values.execution,
        nonfinite=values.nonfinite,
        norms=values.norms,
        report={"learning_rate": optimization.rate} if optimization.rate else {},
    )
    return trainer, optimization


def held_out(task: build.Task) -> tuple[Any, ...] | None:
    """The data of the validation, if there are any."""
    return None if task.validation is None else tuple(task.validation)


def training_callbacks(values: Values, task: build.Task) -> list[Callback]:
    """The callbacks that a run follows, whoever looks at it."""
    return [*_monitors(values), *_saving(values, task), *_own(values)]


def _monitors(values: Values) -> list[Callback]:
    """The callbacks that follow a result."""
    kinds: dict[str, Any] = {"reduce_on_plateau": ReduceLROnPlateau, "early_stop": EarlyStopping}
    options = {name: monitor_options(values, name) for name in kinds}
    return [kinds[name](**given) for name, given in options.items() if given is not None]


def _saving(values: Values, task: build.Task) -> list[Callback]:
    """The callbacks that ask for checkpoints."""
    when = {
        "epochs": values.checkpoint_epochs or None,
        "steps": values.checkpoint_steps,
        "seconds": values.checkpoint_seconds,
    }
    asking: list[Callback] = []
    if any(value is not None for value in when.values()):
        asking.append(SaveEvery(**when))
    best = values.checkpoint_best
    if best == AUTO:
        best = "none" if task.validation is None else "val_loss"
    return asking if best == "none" else [*asking, SaveBest(best)]


def _own(values: Values) -> list[Callback]:
    """The callbacks that users name."""
    found = [import_object("callback", spec) for spec in values.callbacks]
    return [as_callback(one() if isinstance(one, type) else one) for one in found]


def checkpoints(values: Values, folder: Path | None) -> Checkpoints:
    """Those in the run's folder; workers that do not report only read them, on going on."""
    folder = folder or Path(values.resume or values.run_dir or ".")
    return Checkpoints(
        folder / run_folder.CHECKPOINTS,
        values.keep_checkpoints,
        resume=bool(values.resume),
        metadata={"flags": run_folder.flags_text(values)},
    )

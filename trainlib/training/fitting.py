"""The work of `Trainer.fit`: configure a training loop from its arguments, and run it."""

from __future__ import annotations

import itertools
import math
import types
from collections.abc import Collection
from typing import Any

import tensorflow as tf

from trainlib.core.checks import check_integer
from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.autotune import Autotuner
from trainlib.training.batches import Reader, read_pair
from trainlib.training.callback import Results, as_callback, check_monitored
from trainlib.training.checkpoints import Checkpoints
from trainlib.training.chunks import as_numbers, length_of, map_tree
from trainlib.training.context import TrainingContext
from trainlib.training.data_adapter import Data, DataAdapter, are_arrays
from trainlib.training.display import callbacks_for_verbose
from trainlib.training.evaluation import EVALUATION_BATCH_SIZE
from trainlib.training.fit_config import FitConfig
from trainlib.training.fit_options import FitSettings
from trainlib.training.loop import TrainingLoop
from trainlib.training.nonfinite import callbacks_for_policy
from trainlib.training.options import TrainerSettings
from trainlib.training.output_targets import with_class_weights
from trainlib.training.sources import EpochLength
from trainlib.training.strategies import is_chief
from trainlib.training.stream_adapter import StreamAdapter


def configure_fit(
    context: TrainingContext, data: Data, settings: FitSettings, trainer: TrainerSettings
) -> FitConfig:
    """Return the configuration of a training loop for the arguments of `fit`.

    Args:
        context: context of the trainer.
        data: the training data.
        settings: the options of `fit`.
        trainer: the options of the trainer.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or does not apply to the data.
    """
    validation_data = settings.validation_data
    if settings.validation_split:
        data, validation_data = split_arrays(data, settings.validation_split, context.read)
    callbacks = [
        *callbacks_for_verbose(settings.verbose, settings.callbacks, is_chief(context.strategy)),
        *callbacks_for_policy(trainer.nonfinite),
        *map(as_callback, settings.callbacks),
    ]
    for callback in callbacks:
        if callback.every is not None:
            check_integer(f"every of {type(callback).__name__}", callback.every, at_least=1)
    check_monitored(callbacks, context.result_names(validation_data is not None))
    patterns = [pattern for callback in callbacks for pattern in callback.patterns]
    for pattern in patterns:
        context.flags_with(pattern, True)
    freq = settings.validation_freq
    adapter = _training_adapter(context, data, settings)
    context.check_statistics(adapter, patterns)
    config = FitConfig(
        adapter,
        _validation_adapter(context, validation_data, settings),
        epochs=settings.epochs,
        shuffle=settings.shuffle,
        callbacks=callbacks,
        seconds_per_call=trainer.seconds_per_call,
        initial_epoch=settings.initial_epoch,
        validation_freq=frozenset(freq) if isinstance(freq, Collection) else int(freq),
    )
    epochs = range(settings.initial_epoch + 1, settings.epochs + 1)
    if settings.steps_per_epoch is None:
        _check_readable("data", data, len(epochs))
    validations = sum(map(config.validates, epochs))
    if settings.validation_steps is None:
        _check_readable("validation_data", validation_data, validations)
    else:
        _check_restarts(validation_data, validations)
    return config


def _training_adapter(context: TrainingContext, data: Data, settings: FitSettings) -> DataAdapter:
    """Return the training data as an adapter, with the weights of the classes."""
    options: dict[str, Any] = {"length": EpochLength(settings.steps_per_epoch)}
    if settings.class_weight is not None:
        if isinstance(data, (ArrayAdapter, StreamAdapter)):
            raise ValueError("class_weight needs the data themselves, not an adapter of them")
        options["read"] = with_class_weights(
            settings.class_weight, context.read, context.programs.config
        )
    return context.adapt("data", data, settings.batch_size, **options)


def _validation_adapter(
    context: TrainingContext, data: Data | None, settings: FitSettings
) -> DataAdapter | None:
    """Return the validation data as an adapter, None where there are none."""
    if data is None:
        return None
    batch_size = settings.validation_batch_size
    if batch_size is not None and not are_arrays(data):
        raise ValueError(
            f"validation_data are batches already: leave out validation_batch_size={batch_size}"
        )
    return context.adapt(
        "validation_data",
        data,
        batch_size,
        default=EVALUATION_BATCH_SIZE,
        length=EpochLength(settings.validation_steps, "validation_steps", continues=False),
    )


def split_arrays(
    data: Data, validation_split: float, read: Reader = read_pair
) -> tuple[Data, Data]:
    """Return the first and the last part of arrays (x, y) or (x, y, sample_weight), as Keras.

    Args:
        data: the arrays.
        validation_split: the last part as a fraction of the examples, above 0 and below 1.
        read: function that reads the arrays as a tuple. Default: `read_pair`, which takes (x, y) or
            (x, y, sample_weight).

    Raises:
        ValueError: the data are no arrays, or too few.
    """
    if not are_arrays(data):
        raise ValueError(
            "validation_split needs arrays, but data is a source of batches: pass validation_data"
        )
    examples = map_tree(lambda a: as_numbers("data", a, True), read("data", data))
    size = length_of("data", examples)
    first = math.floor(size * (1.0 - validation_split))
    if first in (0, size):
        raise ValueError(
            f"validation_split={validation_split} of {size} examples leaves one part empty: "
            "choose another fraction, or pass validation_data"
        )

    def part(begin: int, end: int) -> Data:
        return tf.nest.map_structure(lambda a: a[begin:end], examples)

    return part(0, first), part(first, size)


def _check_readable(name: str, data: Data, times: int) -> None:
    """Raise `ValueError` if data are to be read several times, but can be read once only."""
    if isinstance(data, types.GeneratorType) and times > 1:
        raise ValueError(
            f"{name} is a generator, which can be read once, for {times} epochs: give a function "
            "that returns a new one, or the number of batches of an epoch"
        )


def _check_restarts(validation_data: Data, times: int) -> None:
    """Raise `ValueError` if the first batches are to be read several times, but can be read once.

    Each validation would take the next batches, so that their results could not be compared.
    """
    if isinstance(validation_data, (types.GeneratorType, itertools.cycle)) and times > 1:
        raise ValueError(
            f"validation_data is a {type(validation_data).__name__}, whose first batches can be "
            f"read once, for {times} validations: give a function that returns a new one"
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
    """Train, from the newest checkpoint if a run is resumed, and return the history.

    Args:
        context: context of the trainer.
        config: configuration, from `configure_fit`.
        checkpoints: checkpoints of the run, from `open_checkpoints`; None for none.
        autotuner: autotuner that chooses the execution of a long run.
    """
    loop = TrainingLoop(context, config, checkpoints)
    if checkpoints is not None and checkpoints.resume:
        loop.resume()
    steps = (config.epochs - config.initial_epoch) * (loop.steps_per_epoch or 0)
    chunks = context.tune(autotuner, loop.chunks(), steps)
    return loop.run(chunks)

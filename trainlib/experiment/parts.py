"""Parts of an experiment's configuration: data, schedule, checkpoints, TensorBoard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trainlib.augmentation.names import is_function, parse_chain
from trainlib.core.checks import check_integer
from trainlib.data.image_files import COLOR_MODES, parse_size
from trainlib.data.labels import TASKS
from trainlib.experiment.average_config import AverageConfig
from trainlib.experiment.ensemble_config import EnsembleConfig
from trainlib.experiment.fields import (
    ConvertedField,
    FunctionsField,
    OptionalFunctionField,
    check_settings,
    setting,
    short_repr,
)
from trainlib.experiment.functions import AUTO, LENGTHS, FunctionConfig, check_shared, takes
from trainlib.experiment.pretrain_config import PretrainConfig
from trainlib.experiment.transfer_config import TransferConfig

WARMUP = "linear_warmup"
MAX_SEED = 2**32 - 1
"""The largest seed that Keras takes."""


@dataclass(frozen=True, kw_only=True, repr=False)
class DataConfig:
    """Where the data come from and how they are used.

    Args:
        data_dir: folder searched first for the files of the data set. Default: None, only
            $TRAINLIB_DATA, Keras's cache and the system's packages are searched.
        target: column of a table to predict. Default: None, the last.
        task: "classification", "regression", or "auto", the default: as the loss says, else as
            `tl.data.load_dataset` decides by the targets.
        train_examples: number of training examples to use, from the first. Default: None, all.
        validation_split: fraction of the training examples kept for validation, in [0, 1). Default:
            0.1.
        split_seed: seed with which the validation examples, and those of rarer classes that are
            repeated, are drawn. Default: None, the seed of the experiment.
        preprocess: "auto", the default: the model begins with layers that scale its input, unless
            it has such layers; "none": it gets the raw data.
        class_weight: "balanced", or weights such as "0:2,3:0.5". Default: None, every example
            weighs 1.
        sample_weight_column: column of a table with the weights of the training examples in the
            loss; it is no input of the model. Default: None, every example weighs 1.
        group_column: column of a table with the groups of the examples, such as patients, which
            the folds of a cross-validation keep together; it is no input. Default: None.
        oversample: whether training examples of rarer classes are repeated until all classes are as
            frequent. Default: False.
        stratify: whether the parts that are split off, validation and test, have their share of
            each class: "yes", "no", or "auto", the default: for files and folders without a test
            part.
        input_columns: columns of a table for each input of your own model, by their names or
            counted from 0, such as "wide=0-4;deep=2-7". Default: None, one input of all columns.
        image_size: height and width of the images of a folder, such as "32x48". Default: None: as
            `tl.data.ImageOptions` says.
        color_mode: "grayscale", "rgb" or "auto", the default: grayscale if all images of a folder
            are.
        stream_pipeline: whether the part train of your pipelines is read in each epoch. Default:
            False, it is read into memory once.
        steps_per_epoch: number of batches of an epoch, if it is. Default: None, all.
        augment: random changes of the training images, such as "flip=horizontal,rotation=0.1", as
            `tl.augmentation.parse_chain` reads them; or `module:function`, a function `(x, y, key)
            -> (x, y)` as `tl.Trainer` takes it. Default: None, the images as they are.

    Raises:
        ValueError, TypeError: a setting of another type or out of its range.

    Example:
        >>> tl.DataConfig(train_examples=1000, validation_split=0.2).preprocess
        'auto'
    """

    data_dir: str | None = setting(
        "path",
        None,
        "Folder searched first for the data set's files; then come $TRAINLIB_DATA, Keras's cache, "
        "the system's data set packages, and a download.",
    )
    target: str | None = setting("str", None, "Column of a table to predict; default: the last.")
    task: str = setting(
        "str",
        AUTO,
        "Whether the targets are classes or numbers; auto: as the loss says, else text is classes, "
        "and so are integers of a table of which there are few.",
        choices=TASKS,
    )
    train_examples: int | None = setting(
        "int", None, "Number of training examples to use, from the first; default: all.", at_least=1
    )
    validation_split: float = setting(
        "float",
        0.1,
        "Fraction of the training examples kept for validation, drawn with --seed.",
        at_least=0,
        below=1,
    )
    split_seed: int | None = setting(
        "int",
        None,
        "Seed with which validation examples, and repeated ones of rarer classes, are drawn; "
        "default: --seed.",
        at_least=0,
        at_most=MAX_SEED,
    )
    preprocess: str = setting(
        "str",
        AUTO,
        "auto: the model begins with layers that scale images to [0, 1] and columns to mean 0 and "
        "variance 1, clipped to [-10, 10], unless it has such layers; none: it gets the raw data.",
        choices=(AUTO, "none"),
    )
    class_weight: str | None = setting(
        "str",
        None,
        "Weights of the training examples by class, such as 0:2,3:0.5, other classes having 1; or "
        "balanced: every class has the same total weight.",
    )
    sample_weight_column: str | None = setting(
        "str",
        None,
        "Column of a table with the weights of the training examples; it is no input.",
    )
    group_column: str | None = setting(
        "str",
        None,
        "Column of a table with the groups of the examples, such as patients, which folds keep "
        "together; it is no input.",
    )
    oversample: bool = setting(
        "bool",
        False,
        "Repeat training examples of rarer classes until all classes are as frequent.",
    )
    stratify: str = setting(
        "str",
        AUTO,
        "Whether the validation and the test part that are split off have their share of each "
        "class; auto: for files and folders without a test part.",
        choices=(AUTO, "yes", "no"),
    )
    input_columns: str | None = setting(
        "str",
        None,
        "Columns of a table for each input of your own model, by their names or counted from 0, as "
        "in wide=0-4;deep=2-7 or wide=age,income;deep=age,job; default: one input of all.",
    )
    image_size: str | None = setting(
        "str",
        None,
        "Height and width of the images of a folder, such as 32x48; default: the size of all "
        "images, or the median height and width, in proportion at most 128.",
    )
    color_mode: str = setting(
        "str",
        AUTO,
        "Colors of the images of a folder; auto: grayscale if all are.",
        choices=COLOR_MODES,
    )
    stream_pipeline: bool = setting(
        "bool",
        False,
        "Read the part train of your tf.data pipelines in each epoch, not into memory once.",
    )
    steps_per_epoch: int | None = setting(
        "int",
        None,
        "Batches of an epoch of a streamed pipeline, the next one continuing after them; default: "
        "all that it yields.",
        at_least=1,
    )
    augment: str | None = setting(
        "str",
        None,
        "Random changes of the training images, comma-separated, such as "
        "flip=horizontal,rotation=0.1,zoom=0.1,contrast=0.1 (--help=augment lists them); or "
        "module:function, called with (x, y, key) of many examples.",
    )

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_settings(self)
        parse_size(self.image_size)
        if self.augment is not None and not is_function(self.augment):
            parse_chain(self.augment)
        if self.oversample and self.class_weight is not None:
            raise ValueError("oversample and class_weight both balance the classes: give one")
        if self.steps_per_epoch is not None and not self.stream_pipeline:
            raise ValueError("steps_per_epoch is for a pipeline that is streamed: stream_pipeline")


@dataclass(frozen=True, kw_only=True, repr=False)
class ScheduleConfig:
    """Learning-rate schedule: one, or several one after another, after an optional warm-up.

    A hyperparameter that several of them take has the same value in all of them.

    Args:
        schedules: the schedules, in their order; a name or `tl.config(...)` alone makes one.
            Default: "constant".
        warmup: `tl.config("linear_warmup", warmup_steps=...)`: linear rise to the first learning
            rate before the schedule; for schedules that have no warm-up themselves. Default: None.
        join_at: steps at which the second, third, ... schedule begins. Default: ().
        per_epoch: whether all steps are counted in epochs. The boundaries of piecewise_constant are
            then the first epochs of the next rates, unless `boundary` says otherwise. Default:
            False.

    Raises:
        ValueError, TypeError: a schedule that does not exist or lacks a hyperparameter, or
            schedules that do not go together.

    Example:
        >>> schedule = tl.ScheduleConfig(
        ...     schedules=["constant", tl.config("cosine_decay", alpha=0.1)], join_at=[1000]
        ... )
        >>> schedule.schedules[1]
        config('cosine_decay', alpha=0.1)
    """

    schedules: FunctionsField = FunctionsField(
        "schedule",
        "constant",
        "Learning-rate schedule, or several, comma-separated, one after another: {names}; or "
        "module:function of the step, or of learning_rate and total_steps that returns one.",
    )
    warmup: OptionalFunctionField = OptionalFunctionField("schedule", None)
    join_at: tuple[int, ...] = setting(
        "ints",
        (),
        "With several schedules: the steps, comma-separated, at which the second, the third, ... "
        "begin.",
    )
    per_epoch: bool = setting(
        "bool",
        False,
        "Count all steps of the schedule in epochs; boundaries are then the first epochs, from 0, "
        "of the next rates.",
    )

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.schedules:
            raise ValueError("schedule must hold at least one schedule, such as constant")
        check_shared("schedule", self.schedules)
        for schedule in self.schedules:
            _check_complete(schedule)
        if len(self.schedules) != 1 + len(self.join_at):
            raise ValueError(
                "join_at must hold the step at which each schedule after the first begins: "
                f"schedule names {len(self.schedules)}, join_at {len(self.join_at)} steps"
            )
        for step in self.join_at:
            check_integer("join_at", step, at_least=0)
        if self.warmup is not None:
            self._check_warmup(self.warmup)

    def _check_warmup(self, warmup: FunctionConfig) -> None:
        if warmup.name != WARMUP or "warmup_steps" not in warmup.hyperparameters:
            raise ValueError(
                f"schedule.warmup must be tl.config({WARMUP!r}, warmup_steps=...), got {warmup!r}"
            )
        for schedule in self.schedules:
            if "warmup_steps" in takes("schedule", schedule.name):
                raise ValueError(
                    f"schedule.warmup: schedule {schedule.name} takes warmup_steps "
                    "itself; give it there"
                )

    @property
    def follows_run_length(self) -> bool:
        """Whether the length of a schedule follows from the number of epochs."""
        return any(
            declared.required and name in LENGTHS and name not in schedule.hyperparameters
            for schedule in self.schedules
            for name, declared in takes("schedule", schedule.name).items()
        )


_NEEDS: Mapping[tuple[str, str], tuple[str, Any]] = {
    ("one_cycle", "pct_final"): ("three_phase", True),
    ("cyclic", "gamma"): ("mode", "exp_range"),
    ("cosine_decay", "warmup_target"): ("warmup_steps", None),
    ("linear_warmup", "warmup_start"): ("warmup_steps", None),
}
"""Hyperparameters of schedules that have no effect without a value of another; None: any but 0."""


def _check_complete(schedule: FunctionConfig) -> None:
    """Raise `ValueError` where a schedule lacks a hyperparameter that it needs."""
    known = takes("schedule", schedule.name)
    for name, declared in known.items():
        if declared.required and name not in LENGTHS and name not in schedule.hyperparameters:
            raise ValueError(f"schedule {schedule.name} needs {name}")
    for (of, name), (other, value) in _NEEDS.items():
        given = schedule.hyperparameters
        if of != schedule.name or given.get(name, known[name].default) == known[name].default:
            continue
        found = given.get(other)
        if found != value if value is not None else not found:
            wanted = other if value in (None, True) else f"{other}={value}"
            raise ValueError(f"{name} of schedule {of} has no effect without {wanted}")


class ScheduleField(
    ConvertedField[
        ScheduleConfig, ScheduleConfig | FunctionConfig | str | Iterable[FunctionConfig | str]
    ]
):
    """A `ScheduleConfig`, or its schedules alone."""

    def convert(self, value: Any) -> ScheduleConfig:
        return value if isinstance(value, ScheduleConfig) else ScheduleConfig(schedules=value)


@dataclass(frozen=True, kw_only=True, repr=False)
class CheckpointConfig:
    """When checkpoints are saved, and which are kept.

    Args:
        epochs: epochs between two checkpoints, at least 0; 0: none after epochs. Default: 1.
        steps: batches between two checkpoints, at least 1. Default: None, none by batches.
        seconds: seconds between two checkpoints, above 0. Default: 600.
        keep: number of the newest checkpoints that are kept, at least 1. Default: 3.
        best: result whose best checkpoint is kept too, such as "val_accuracy"; "auto", the
            default: the loss of the validation data, if there are any; "none": none.
        best_mode: "min", the least value is the best, or "max"; "auto", the default: as the name
            of the result says.

    Raises:
        ValueError, TypeError: a setting of another type or out of its range.

    Example:
        >>> tl.CheckpointConfig(steps=500, keep=1)
        CheckpointConfig(steps=500, keep=1)
    """

    epochs: int = setting(
        "int",
        1,
        "Epochs between two checkpoints; 0: none after epochs.",
        flag="checkpoint_epochs",
        group="Checkpoints",
        at_least=0,
    )
    steps: int | None = setting(
        "int",
        None,
        "Also save one each time this many batches have passed.",
        flag="checkpoint_steps",
        at_least=1,
    )
    seconds: float = setting(
        "float",
        600.0,
        "Also save one each time this many seconds have passed.",
        flag="checkpoint_seconds",
        above=0,
    )
    keep: int = setting(
        "int",
        3,
        "Number of the newest checkpoints that are kept; the best one is kept too.",
        flag="keep_checkpoints",
        at_least=1,
    )
    best: str = setting(
        "str",
        AUTO,
        "Result by which a checkpoint is the best, such as val_accuracy; auto: the loss of the "
        "validation data, if there are any; none: no best checkpoint is kept.",
        flag="checkpoint_best",
    )
    best_mode: str = setting(
        "str",
        AUTO,
        "Whether the least or the largest value is the best: min, max; auto: as the name says.",
        flag="checkpoint_best_mode",
        choices=(AUTO, "min", "max"),
    )

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, kw_only=True, repr=False)
class TensorBoardConfig:
    """What is written for TensorBoard, and where.

    Args:
        dir: folder for the events of many runs, each in a folder of the run's name. Default: None,
            the events are in the run's folder.
        steps: batches between two points of the curves, at least 1, besides those of epochs.
            Default: None, none.
        histogram_epochs: epochs between two sets of histograms, at least 0; 0: none. Default: 1.
        layer_statistics: whether statistics of each layer's activations and gradients are written
            too. Default: False.

    Raises:
        ValueError, TypeError: a setting of another type or out of its range.

    Example:
        >>> tl.TensorBoardConfig(steps=100)
        TensorBoardConfig(steps=100)
    """

    dir: str | None = setting(
        "path",
        None,
        "Folder for the events of many runs, each in a folder with the run's name; default: the "
        "run's folder.",
        flag="tensorboard_dir",
    )
    steps: int | None = setting(
        "int",
        None,
        "Also write a point of the curves each time this many batches have passed.",
        flag="tensorboard_steps",
        at_least=1,
    )
    histogram_epochs: int = setting(
        "int", 1, "Epochs between two sets of histograms; 0: none.", at_least=0
    )
    layer_statistics: bool = setting(
        "bool",
        False,
        "With the histograms also write statistics of each layer: mean and standard deviation of "
        "activations and gradients, saturated and dead units.",
    )

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_settings(self)


NESTED = {
    "data": DataConfig,
    "transfer": TransferConfig,
    "pretrain": PretrainConfig,
    "schedule": ScheduleConfig,
    "weight_average": AverageConfig,
    "checkpoints": CheckpointConfig,
    "ensemble": EnsembleConfig,
    "tensorboard": TensorBoardConfig,
}
"""The nested dataclasses of `ExperimentConfig`, by field."""

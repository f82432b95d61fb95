"""`DataConfig`: the source of the data of an experiment, their parts and their weights."""

from __future__ import annotations

from dataclasses import dataclass

from trainlib.augmentation.names import is_function, parse_chain
from trainlib.data.image_files import COLOR_MODES, parse_size
from trainlib.data.labels import TASKS
from trainlib.experiment.fields import check_settings, setting, short_repr
from trainlib.experiment.functions import AUTO

MAX_SEED = 2**32 - 1
"""The largest seed that Keras takes."""


@dataclass(frozen=True, kw_only=True, repr=False)
class DataConfig:
    """Configuration of the data of an experiment: their source, their parts and their weights.

    Args:
        data_dir: folder that is searched first for the files of the data set. Default: None; then
            $TRAINLIB_DATA, Keras's cache and the system's packages are searched.
        target: column of a table to predict. Default: None, the last column.
        task: "classification", "regression", or "auto", the default: determined by the loss, or by
            the targets as in `tl.data.load_dataset`.
        train_examples: number of training examples to use, from the first. Default: None, all.
        validation_split: fraction of the training examples for validation, in [0, 1). Default:
            0.1.
        split_seed: seed for the choice of validation examples, and of repeated examples of rarer
            classes. Default: None, the seed of the experiment.
        preprocess: "auto", the default: layers that scale the input are added to the model, unless
            it has such layers; "none": the model takes the raw data.
        class_weight: "balanced", or weights by class such as "0:2,3:0.5". Default: None, all
            classes have weight 1.
        sample_weight_column: column of a table with the weights of the training examples in the
            loss; it is not an input of the model. Default: None, all examples have weight 1.
        group_column: column of a table with the groups of the examples, such as patients, which
            the folds of a cross-validation keep together; it is not an input. Default: None.
        oversample: whether examples of rarer classes are repeated in training until all classes
            are equally frequent. Default: False.
        stratify: whether a validation or test part that is split off has the same fraction of each
            class: "yes", "no", or "auto", the default: for files and folders without a test part.
        input_columns: columns of a table for each input of a custom model, by name or counted from
            0, such as "wide=0-4;deep=2-7". Default: None, one input with all columns.
        image_size: height and width of the images of a folder, such as "32x48". Default: None, as
            of `tl.data.ImageOptions`.
        color_mode: "grayscale", "rgb" or "auto", the default: grayscale if all images of a folder
            are.
        stream_pipeline: whether the training part of a custom pipeline is read again in each epoch.
            Default: False, it is read into memory once.
        steps_per_epoch: number of batches in an epoch of such a pipeline. Default: None, all.
        augment: augmentation of the training images, such as "flip=horizontal,rotation=0.1", as for
            `tl.augmentation.parse_chain`; or `module:function`, a function `(x, y, key) -> (x, y)`
            as for `tl.Trainer`. Default: None, no augmentation.

    Raises:
        ValueError, TypeError: a setting has another type or is out of its range.

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
        "and so are integers of a table with few different values.",
        choices=TASKS,
    )
    train_examples: int | None = setting(
        "int", None, "Number of training examples to use, from the first; default: all.", at_least=1
    )
    validation_split: float = setting(
        "float",
        0.1,
        "Fraction of training examples for validation; they are drawn at random by --split_seed.",
        at_least=0,
        below=1,
    )
    split_seed: int | None = setting(
        "int",
        None,
        "Seed for the choice of validation examples; also for that of the repeated examples of "
        "--oversample; default: --seed.",
        at_least=0,
        at_most=MAX_SEED,
    )
    preprocess: str = setting(
        "str",
        AUTO,
        "Preprocessing of the inputs by layers of the model. auto: layers scale images to [0, 1], "
        "and columns to mean 0 and variance 1, clipped to [-10, 10], unless the model has such "
        "layers; none: raw data.",
        choices=(AUTO, "none"),
    )
    class_weight: str | None = setting(
        "str",
        None,
        "Weights of the training examples by class; such as 0:2,3:0.5, where other classes have "
        "weight 1; or balanced: every class has the same total weight.",
    )
    sample_weight_column: str | None = setting(
        "str",
        None,
        "Column of a table with the weights of the training examples; it is not an input.",
    )
    group_column: str | None = setting(
        "str",
        None,
        "Column of a table with the groups of the examples; folds keep each group, such as a "
        "patient, together; it is not an input.",
    )
    oversample: bool = setting(
        "bool",
        False,
        "Repeat training examples of rarer classes; all classes are then equally frequent.",
    )
    stratify: str = setting(
        "str",
        AUTO,
        "Split data into parts with the same fraction of each class; this applies to validation "
        "and test parts that are split off. auto: for files and folders without a test part.",
        choices=(AUTO, "yes", "no"),
    )
    input_columns: str | None = setting(
        "str",
        None,
        "Columns of a table for each input of a custom model; by name or counted from 0, as in "
        "wide=0-4;deep=2-7 or wide=age,income;deep=age,job; default: one input with all columns.",
    )
    image_size: str | None = setting(
        "str",
        None,
        "Height and width of the images of a folder, such as 32x48; default: their size; for "
        "different sizes the median height and width, scaled down to at most 128.",
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
        "Stream the training part of your tf.data pipelines; it is read again in each epoch, "
        "instead of into memory once.",
    )
    steps_per_epoch: int | None = setting(
        "int",
        None,
        "Batches in an epoch of a streamed pipeline; the next epoch continues after them. Default: "
        "all batches.",
        at_least=1,
    )
    augment: str | None = setting(
        "str",
        None,
        "Random changes of the training images; comma-separated, such as "
        "flip=horizontal,rotation=0.1,zoom=0.1,contrast=0.1 (--help=augment lists them); or "
        "module:function, called with (x, y, key) of several examples.",
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

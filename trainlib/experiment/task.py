"""The task of an experiment: its data, split into parts, with loss, targets and metrics."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

import trainlib.losses as losses
from trainlib.core.checks import check_integer
from trainlib.core.types import Tree
from trainlib.data import (
    Dataset,
    Examples,
    ImageOptions,
    TablePreprocessing,
    as_dataset,
    load_dataset,
    take,
)
from trainlib.data.datasets import checked_folder, is_path
from trainlib.data.examples import pick, split_by_class, split_indices
from trainlib.data.files import is_table, load_file
from trainlib.data.labels import CLASSIFICATION, REGRESSION
from trainlib.data.preprocessing import preprocessing_of_model
from trainlib.data.reading import Reading
from trainlib.experiment.balance import (
    BALANCED,
    balanced_weights,
    labels_of,
    oversampled,
    parse_class_weights,
)
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.functions import AUTO, takes
from trainlib.experiment.heads import Head, head_for, heads_for, in_forms
from trainlib.experiment.streaming import batches_of, check_streamed
from trainlib.experiment.targets import Target, loss_name, reconstructed, target_of
from trainlib.experiment.user_functions import import_modules
from trainlib.experiment.model_signature import (
    PLAIN_SIGNATURE,
    Shapes,
    columns_by_name,
    inputs_of,
    shapes_of,
    targets_of,
    texts_by_output,
    model_signature,
)
from trainlib.models import RECONSTRUCTING
from trainlib.models.signature import ModelSignature
from trainlib.training.paths import expanded, shown
from trainlib.training.strategies import get_strategy
from trainlib.training.stream_adapter import StreamAdapter
from trainlib.user_code import import_function, is_spec

PARTS = ("train", "validation", "test")
"""The parts of the data, as a `Task` names them."""
VOCABULARY = "vocabulary"
"""Hyperparameter of the models that take sequences of integers."""


class Task(NamedTuple):
    """Data, and the loss, the targets and the metrics that suit them.

    Attributes:
        dataset: the whole data set.
        train: examples trained on.
        validation: examples kept for validation; None if there are none.
        test: examples kept for the final evaluation; None if there are none.
        loss: name of the loss.
        target: form of the targets.
        outputs: units of the model's last layer.
        metrics: names of the metrics.
        signature: the named inputs and outputs of the model. Default: one of each.
        weights: weights of the training examples; None: 1.
        heads: what each of several outputs predicts, where they have targets of their own: `loss`,
            `target`, `outputs` and `metrics` are then those of the first. Default: {}, each output
            predicts the same targets.
    """

    dataset: Dataset
    train: Examples
    validation: Examples | None
    test: Examples | None
    loss: str
    target: Target
    outputs: int
    metrics: tuple[str, ...]
    signature: ModelSignature = PLAIN_SIGNATURE
    weights: np.ndarray | None = None
    heads: Mapping[str, Head] = {}

    @property
    def shapes(self) -> Shapes:
        """Shape of the inputs of an example; by name where the model has several."""
        return shapes_of(self.signature, self.train.x)

    def head(self, output: str = "") -> Head:
        """Return what an output of the model predicts; by default the only one, or the first."""
        if output in self.heads:
            return self.heads[output]
        classes = self.dataset.classes if self.target.by_class else 0
        return Head(self.loss, self.target, self.outputs, self.metrics, classes)

    @property
    def is_streamed(self) -> bool:
        """Whether training reads a pipeline, of which `train` holds the first examples only."""
        return self.dataset.stream is not None

    def parts(self) -> dict[str, Examples]:
        """Return the parts of which all examples are in memory, by name."""
        names = PARTS[1:] if self.is_streamed else PARTS
        return {name: x for name in names if (x := getattr(self, name)) is not None}

    def part(self, name: str) -> Examples:
        """Return the part of a name, and raise `ValueError` if the task has none."""
        if name == PARTS[0] and self.is_streamed:
            raise ValueError(f"part {name}: it is a pipeline, not in memory: give another part")
        found: Examples | None = getattr(self, name)
        if found is None:
            raise ValueError(f"part {name}: the run kept no examples for it")
        return found

    def arrays(self, examples: Examples) -> tuple[Tree, Tree]:
        """Return examples as (x, y), for the inputs and the outputs of the model."""
        return inputs_of(self.signature, examples.x), targets_of(self.signature, examples.y)


def build_task(
    config: ExperimentConfig,
    preprocessing: TablePreprocessing | None = None,
    classes: int | Mapping[str, int] = 0,
    class_names: tuple[str, ...] = (),
) -> Task:
    """Load and split the data, and resolve "auto" for the loss and the metrics.

    Args:
        config: the experiment.
        preprocessing: rules of a table's columns. Default: None, those of the `.keras` file of the
            configuration's model, or rules fitted to the training examples.
        classes: number of classes that a model knows, by output where it has several. Default: 0,
            as many as the data have.
        class_names: their names in the order of the labels, for folders of images. Default: (), the
            subfolders in alphabetical order.

    Raises:
        ValueError, TypeError, OSError: the data are missing, damaged or too few, or do not suit
            the loss.
    """
    dataset = load_data(config, preprocessing, class_names)
    return split_task(config, _with_known_classes(dataset, classes))


def split_task(config: ExperimentConfig, dataset: Dataset) -> Task:
    """Split the data of an experiment, and resolve "auto" for the loss and the metrics.

    Args:
        config: the experiment.
        dataset: its data.

    Raises:
        ValueError, TypeError: the data are too few, or do not suit the loss.
    """
    data = config.data
    if config.model.name in RECONSTRUCTING:
        dataset = reconstructed(dataset)
    if dataset.stream is not None:
        check_streamed(config, dataset)
    signature, heads, first = outputs_for(config, dataset)

    def in_form(part: Examples) -> Examples:
        return in_forms(part, first.target, heads, dataset.classes)

    train, test = in_form(dataset.train), in_form(dataset.test)
    if dataset.validation is None:
        kept, held_out = training_parts(config, dataset.train, dataset.stratified)
        validation = None if held_out is None else pick(train, held_out)
        train = take(train, len(kept)) if held_out is None else pick(train, kept)
    else:
        validation = in_form(dataset.validation)
        kept = np.arange(_used(config, train.size))
        train = take(train, len(kept))
    weights = None if dataset.weights is None else dataset.weights[kept]
    if data.oversample:
        if heads:
            raise ValueError("oversample is for one array of targets: give weights of the examples")
        repeated = _oversampled(config, train, first.target)
        line = f"oversampled: {len(repeated)} training examples from {train.size}"
        dataset = dataset._replace(notes=(*dataset.notes, line))
        train = pick(train, repeated)
        weights = None if weights is None else weights[repeated]
    described = first.loss, first.target, first.units, first.metrics
    return Task(dataset, train, validation, test, *described, signature, weights, heads)


def outputs_for(config: ExperimentConfig, dataset: Dataset) -> tuple[ModelSignature, dict[str, Head], Head]:
    """Return the signature of the model, the heads of several outputs, and the main head.

    Args:
        config: the experiment.
        dataset: its data.

    Raises:
        ValueError: the data do not suit the loss, or lack a column.
    """
    shapes = shapes_of(PLAIN_SIGNATURE, dataset.train.x)
    signature = model_signature(config, shapes, columns_of(dataset))
    if not dataset.output_classes:
        loss = loss_name(config.loss.name, dataset, config.data.task)
        return signature, {}, head_for(config, loss, dataset, shapes)
    signature = signature._replace(outputs=tuple(dataset.output_classes))
    heads = heads_for(config, dataset, texts_by_output("output_losses", config, signature))
    return signature, heads, next(iter(heads.values()))


def outputs_summary(task: Task) -> dict[str, Any]:
    """Return what a run's summary says of several outputs; {} where there is one."""
    if not task.signature.outputs:
        return {}
    heads = {name: task.head(name) for name in task.signature.outputs}
    return {"outputs": {name: {"classes": x.classes, "loss": x.loss} for name, x in heads.items()}}


def columns_of(dataset: Dataset) -> dict[str, tuple[int, ...]]:
    """Return the positions of the columns of a data set by their names."""
    return columns_by_name(dataset.feature_names, dataset.preprocessing)


def _with_known_classes(dataset: Dataset, classes: int | Mapping[str, int]) -> Dataset:
    """Return a data set with the numbers of classes that a model knows.

    Raises:
        ValueError: it has further classes.
    """
    known = classes if isinstance(classes, Mapping) else {"": classes}
    counts = {}
    for name, count in (dataset.output_classes or {"": dataset.classes}).items():
        most = known.get(name, 0)
        if most and count > most:
            where = f"y_{name} of {dataset.name}" if name else dataset.name
            raise ValueError(
                f"{where} has the class {count - 1}, but the model knows the classes 0 to "
                f"{most - 1}"
            )
        counts[name] = max(count, most) if count else 0
    dataset = dataset._replace(classes=next(iter(counts.values())))
    return dataset._replace(output_classes=counts) if dataset.output_classes else dataset


def load_data(
    config: ExperimentConfig,
    preprocessing: TablePreprocessing | None = None,
    class_names: tuple[str, ...] = (),
    training_rows: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Dataset:
    """Return the data set of a name or a file, or the one that a custom function returns.

    The modules that the configuration names are imported.

    Args:
        config: the experiment.
        preprocessing: rules of a table's columns, as for `build_task`. Default: None.
        class_names: names of the classes, as for `build_task`. Default: ().
        training_rows: function of the targets outside the test part that returns the indices of
            the examples to which rules of a table are fitted. Default: None, those that the
            configuration trains on.
    """
    import_modules(config)
    name, data = config.dataset, config.data
    stratify = data.stratify != "no"
    if data.sample_weight_column is not None and not is_table(name):
        raise ValueError(
            f"sample_weight_column is {data.sample_weight_column!r}, but only a table has columns"
        )
    if data.stream_pipeline and (is_path(name) or not is_spec(name)):
        raise ValueError(
            f"stream_pipeline is for a pipeline of yours, module:function, but dataset is {name}"
        )
    if data.group_column is not None and not is_table(name):
        raise ValueError(f"group_column is {data.group_column!r}, but only a table has columns")
    if is_spec(name) and not is_path(name):
        if config.replicas is not None:  # devices are split before the function uses them
            get_strategy(config.strategy, config.replicas)
        function = import_function("dataset", name, config.code_path)
        if data.stream_pipeline:  # what the pipeline draws without a seed follows this one
            keras.utils.set_random_seed(config.seed)
        made = function()
        return as_dataset(
            name,
            made,
            dtype=data_dtype(config),
            task=_task(config),
            output_task=data.task,
            stratify=stratify,
            sequences=takes_sequences(config),
            stream=data.stream_pipeline,
        )
    _check_image_options(config)
    if not is_path(name):
        return load_dataset(
            name, data.data_dir, data.target, task=_task(config), dtype=data_dtype(config)
        )
    checked_folder(data.data_dir)
    reading = Reading(
        target=data.target,
        task=_task(config),
        output_task=data.task,
        dtype=data_dtype(config),
        preprocessing=preprocessing or _preprocessing_of_model(config),
        training_rows=training_rows
        or (lambda y: training_parts(config, Examples(y, y), stratify)[0]),
        stratify=stratify,
        images=ImageOptions(data.image_size, data.color_mode, class_names),
        sequences=takes_sequences(config),
        weight_column=data.sample_weight_column,
        group_column=data.group_column,
        new_labels=preprocessing is None and config.transfer.replaces_head,
    )
    return load_file(expanded(name), reading)


def _check_image_options(config: ExperimentConfig) -> None:
    """Raise `ValueError` for the size or the colors of images where the data are no folder."""
    data, name = config.data, config.dataset
    if is_path(name) and (expanded(name).is_dir() or not expanded(name).exists()):
        return
    for option in ("image_size", "color_mode"):
        if getattr(data, option) not in (None, AUTO):
            raise ValueError(f"{option} is for folders of images, and {shown(name)} is none")


def _task(config: ExperimentConfig) -> str:
    """Return the task that a configuration states, or that its loss implies; else "auto".

    Raises:
        ValueError: the loss is for another task.
    """
    stated, loss = config.data.task, config.loss.name
    if loss == AUTO or is_spec(loss):
        return stated
    implied = CLASSIFICATION if target_of(loss).by_class else REGRESSION
    if stated not in (AUTO, implied):
        raise ValueError(f"task is {stated}, but loss {loss} is for {implied}")
    return implied


def takes_sequences(config: ExperimentConfig) -> bool:
    """Return whether the model of a configuration takes sequences of integers."""
    return VOCABULARY in takes("model", config.model.name)


def data_dtype(config: ExperimentConfig) -> str:
    """Return the dtype in which an experiment reads its data."""
    return "float64" if config.precision == "float64" else "float32"


def _preprocessing_of_model(config: ExperimentConfig) -> TablePreprocessing | None:
    """Return the rules in the `.keras` file of the model or beside it, if it is that of a run."""
    if not config.model.name.endswith(".keras"):
        return None
    return preprocessing_of_model(expanded(config.model.name))


def split_seed(config: ExperimentConfig) -> int:
    """Return the seed with which validation examples are drawn."""
    given = config.data.split_seed
    return config.seed if given is None else given


def _oversampled(config: ExperimentConfig, train: Examples, target: Target) -> np.ndarray:
    """Return the indices of the training examples, those of rarer classes repeated."""
    if not target.by_class:
        raise ValueError("oversample is for classes, but the targets are numbers")
    return oversampled(labels_of(train.y), split_seed(config))


def _used(config: ExperimentConfig, size: int) -> int:
    """Return how many of the examples outside the test part are used."""
    used = config.data.train_examples
    if used is None:
        return size
    check_integer("train_examples", used, at_least=1, at_most=size)
    return used


def training_parts(
    config: ExperimentConfig, examples: Examples, stratified: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the indices of the training and the validation examples.

    Args:
        config: the experiment.
        examples: those outside the test part: targets that are integers are classes.
        stratified: whether both parts have their share of each class by "auto".
    """
    data, y, used = config.data, examples.y, _used(config, examples.size)
    by_class = not isinstance(y, Mapping) and y.dtype.kind == "i"
    if data.stratify == "yes" and not by_class:
        several = isinstance(y, Mapping)
        found = "there are several arrays of targets" if several else "the targets are numbers"
        raise ValueError(f"stratify=yes is for classes, but {found}")
    if not data.validation_split:
        return np.arange(used), None
    kept = round(data.validation_split * used)
    if not 0 < kept < used:
        raise ValueError(
            f"validation_split {data.validation_split:g} keeps {kept} of {used} training examples "
            "for validation; both parts need at least 1"
        )
    if by_class and (data.stratify == "yes" or (data.stratify == AUTO and stratified)):
        return split_by_class(y[:used], data.validation_split, split_seed(config))
    return split_indices(used, data.validation_split, split_seed(config))


def held_out(task: Task) -> tuple[Any, ...] | None:
    """Return the validation data as (x, y); None if there are none."""
    return None if task.validation is None else task.arrays(task.validation)


def training_data(config: ExperimentConfig, task: Task) -> tuple[Any, ...] | StreamAdapter:
    """Return the training data as `training_arrays` does, or as an adapter if they are streamed.

    Raises:
        ValueError, TypeError: as for `training_arrays`; or the number of batches of an epoch of a
            stream is not known.
    """
    if not task.is_streamed:
        return training_arrays(config, task)

    def converted(examples: Examples, weights: np.ndarray | None) -> tuple[Any, ...]:
        examples = in_forms(examples, task.target, task.heads, task.dataset.classes)
        return training_arrays(config, task._replace(train=examples, weights=weights))

    return batches_of(config, task.dataset.stream, converted)


def training_arrays(config: ExperimentConfig, task: Task) -> tuple[Any, ...]:
    """Return the training data as (x, y), or (x, y, weight) where examples have weights.

    Of a stream they are the first examples.

    Raises:
        ValueError, TypeError: weights of classes that do not exist, or of numbers.
    """
    weight = _weights(config, task)
    arrays = task.arrays(task.train)
    return arrays if weight is None else (*arrays, weight)


def steps_per_epoch(config: ExperimentConfig, task: Task) -> int:
    """Return the number of batches of an epoch."""
    data = training_data(config, task) if task.is_streamed else None
    if isinstance(data, StreamAdapter):
        return int(data.batches() or 0)
    return -(-task.train.size // config.batch_size)


def _weights(config: ExperimentConfig, task: Task) -> np.ndarray | None:
    """Return the weights of the training examples: of their column times those of their classes."""
    class_weight = config.data.class_weight
    if class_weight is None:
        return task.weights
    if task.heads:
        raise ValueError(
            "class_weight is for one array of targets: give weights of the examples, in the array "
            "weight"
        )
    if not task.target.by_class:
        raise ValueError(f"class_weight is for classes; loss {task.loss} predicts numbers")
    if class_weight == BALANCED:
        weights = balanced_weights(labels_of(task.train.y))
    else:
        names = _classes(task)
        weights = parse_class_weights(class_weight, task.outputs, names, task.dataset.name)
    factors: np.ndarray = losses.class_weights(task.train.y, weights).numpy()
    return factors if task.weights is None else factors * task.weights


def _classes(task: Task) -> tuple[str, ...]:
    """Return the classes as the targets name them; () where they are numbered."""
    rules = task.dataset.preprocessing
    return task.dataset.class_names if rules is None else rules.classes


def fingerprint(task: Task) -> str:
    """Return a hash of all examples of a task, by which workers compare their data."""
    digest = hashlib.sha256()
    parts = [getattr(task, name) for name in PARTS]
    for array in tf.nest.flatten([task.weights, parts]):
        if array is not None:
            digest.update(f"{array.dtype} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()

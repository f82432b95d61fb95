"""From flags to objects: the data set, the model, the optimizer, the loss."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

import trainlib.losses as losses
import trainlib.models as models
import trainlib.registry as registry
from trainlib.cli.flag_types import Values
from trainlib.cli.flags import check_choices, chosen
from trainlib.cli.targets import Target, in_form, loss_name, takes_logits, target_of
from trainlib.core.checks import check_integer, check_number
from trainlib.data import Dataset, Examples, load_dataset, split, take
from trainlib.metrics import Metric, as_metric, make_metric, on_probabilities
from trainlib.regularizers import Regularizer

BY_ORDER = (
    "accuracy",
    "categorical_accuracy",
    "sparse_categorical_accuracy",
    "top_k_categorical_accuracy",
    "sparse_top_k_categorical_accuracy",
)
"""Metrics that ask which predictions are largest: of logits they are those of probabilities."""
MAX_SEED = 2**32 - 1
"""The largest that Keras takes."""
FARTHEST = 10.0
"""Standard deviations from the mean at which a column's values end for the model."""


PARTS = ("train", "validation", "test")
"""Of the data, as a `Task` names them."""


class Task(NamedTuple):
    """Data and what is to be learned of them.

    loss: a name of the registry. target: what the loss is given. outputs: units of the model's
    last layer. metrics: names.
    """

    dataset: Dataset
    train: Examples
    validation: Examples | None
    test: Examples
    loss: str
    target: Target
    outputs: int
    metrics: tuple[str, ...]


class Models(NamedTuple):
    """full: what is saved. trained: what the loss sees; shares full's variables.

    from_logits: whether `trained` ends in logits, its probabilities being left to `full`.
    """

    full: Any
    trained: Any
    from_logits: bool


def build_task(values: Values, columns: tuple[str, ...] = ()) -> Task:
    """Checks what the flags choose, loads the data, splits them, and settles the loss.

    Args:
        values: of the flags of `train`.
        columns: the order in which a model takes the columns of a table; () for the table's own.
    """
    check_integer("seed", values.seed, at_least=0, at_most=MAX_SEED)
    check_choices(values)
    dataset = load_dataset(values.dataset, values.data_dir, values.target)
    if columns and dataset.feature_names:
        dataset = _in_order(dataset, columns)
    loss = loss_name(values.loss, dataset)
    target = target_of(loss)
    train, test = (in_form(part, target.form, dataset) for part in (dataset.train, dataset.test))
    if values.train_examples is not None:
        check_integer("train_examples", values.train_examples, at_least=1, at_most=train.size)
        train = take(train, values.train_examples)
    validation = None
    check_number("validation_split", values.validation_split, at_least=0, below=1)
    if values.validation_split:
        kept = round(values.validation_split * train.size)
        if not 0 < kept < train.size:
            raise ValueError(
                f"validation_split {values.validation_split:g} keeps {kept} of {train.size} "
                "training examples for validation; both parts need at least 1"
            )
        train, validation = split(train, values.validation_split, values.seed)
    outputs = dataset.classes if target.by_class else 1
    metrics = _metric_names(values, loss, target)
    return Task(dataset, train, validation, test, loss, target, outputs, metrics)


def _metric_names(values: Values, loss: str, target: Target) -> tuple[str, ...]:
    """The metrics asked for, or those that suit the targets."""
    if values.metrics != ["auto"]:
        return tuple(values.metrics)
    if target.by_class:
        return ("accuracy",)
    bare = loss if values.regularizer is None else None  # then the loss says it all
    return tuple(x for x in ("mean_squared_error", "mean_absolute_error") if x != bare)


def build_models(values: Values, task: Task) -> Models:
    """The model that the flags name, scaling its input unless told otherwise."""
    keras.utils.set_random_seed(values.seed)
    shape = task.train.x.shape[1:]
    if not models.is_custom(values.model):
        registry.lookup("model", values.model, models.MODELS)
    options = chosen(values, "model", values.model)
    layers = _preprocessing(task) if values.preprocess == "auto" else []
    if values.model in models.MODELS:
        full = models.MODELS[values.model](
            shape, task.outputs, task.target.activation, layers, **options
        )
        return seen_by_loss(full, task.loss)
    if values.model.endswith(".keras"):
        own = models.load_model(values.model, values.safe_mode)
    else:
        own = models.from_function(values.model, shape, task.outputs)
    check_shapes(own, task)
    if not layers or models.has_preprocessing(own):
        return seen_by_loss(own, task.loss)
    return _behind(layers, shape, seen_by_loss(own, task.loss))


def build_regularizer(values: Values) -> Regularizer | None:
    """The penalty, if one is asked for."""
    if values.regularizer is not None:
        registry.lookup("regularizer", values.regularizer)
    elif values.regularized_params is not None:
        raise ValueError("--regularized_params needs --regularizer")
    options = chosen(values, "regularizer", values.regularizer)
    return registry.REGULARIZERS[values.regularizer](**options) if values.regularizer else None


def build_loss(values: Values, loss: str, from_logits: bool) -> losses.Loss:
    """The loss with its hyperparameters, of each example."""
    options = chosen(values, "loss", loss)
    function = registry.lookup("loss", loss)
    if takes_logits(loss):
        options["from_logits"] = from_logits
    if registry.LOSSES[loss] in (losses.dice, losses.tversky):
        options["axis"] = -1  # of each example: by themselves they take a batch for one image
    return functools.partial(function, **options)


def build_metrics(values: Values, task: Task, from_logits: bool) -> dict[str, Metric]:
    """The metrics by name, each with its hyperparameters."""
    metrics = {}
    for name in task.metrics:
        entry = registry.lookup("metric", name)
        metric = as_metric(make_metric(entry, **chosen(values, "metrics", name)))
        if from_logits and name not in BY_ORDER:
            metric = on_probabilities(metric, str(task.target.activation))
        metrics[name] = metric
    return metrics


def class_weighted(values: Values, task: Task) -> tuple[Any, ...]:
    """The training part as (x, y), or (x, y, weight) where the classes have weights."""
    if values.class_weight is None:
        return tuple(task.train)
    if not task.target.by_class:
        raise ValueError(f"class_weight is for classes; loss {task.loss} predicts numbers")
    x, y = task.train
    if values.class_weight == "balanced":
        labels = y if y.ndim == 1 else y.argmax(axis=1)
        counts = np.bincount(labels, minlength=task.outputs)
        weights = {
            k: labels.size / (n * np.count_nonzero(counts)) for k, n in enumerate(counts) if n
        }
    else:
        weights = _class_weights(values.class_weight, task.outputs)
    return x, y, losses.class_weights(y, weights).numpy()


def _class_weights(text: str, classes: int) -> dict[int, float]:
    """`0:2,3:0.5` as a dict."""
    weights = {}
    for part in text.split(","):
        name, _, weight = part.partition(":")
        try:
            weights[int(name)] = float(weight)
        except ValueError:
            raise ValueError(
                f"class_weight must be balanced or class:weight divided by commas, such as "
                f"0:2,3:0.5, got {text!r}"
            ) from None
        check_integer("a class of class_weight", int(name), at_least=0, at_most=classes - 1)
    return weights


def _in_order(dataset: Dataset, columns: tuple[str, ...]) -> Dataset:
    """The data set with those columns alone, in that order."""
    for name in columns:
        if name not in dataset.feature_names:
            raise ValueError(
                f"{dataset.name} has no column {name!r}; the model takes {', '.join(columns)}"
            )
    places = [dataset.feature_names.index(name) for name in columns]
    train, test = (part._replace(x=part.x[:, places]) for part in (dataset.train, dataset.test))
    return dataset._replace(train=train, test=test, feature_names=columns)


def _preprocessing(task: Task) -> list[Any]:
    """Layers that scale images to [0, 1], or columns by the training part's mean and variance.

    Columns end at FARTHEST standard deviations: one house with a column 125 of them away from the
    mean is enough to make plain gradient descent diverge.
    """
    if task.dataset.x_max:
        return [keras.layers.Rescaling(1 / task.dataset.x_max, name="scale")]
    if task.train.x.ndim != 2:
        return []
    x = task.train.x.astype(np.float64)
    return [
        keras.layers.Normalization(mean=x.mean(0), variance=x.var(0), name="standardize"),
        keras.layers.Rescaling(1 / FARTHEST, name="in_units_of_the_bound"),
        keras.layers.Activation("hard_tanh", name="bound"),
        keras.layers.Rescaling(FARTHEST, name="in_standard_deviations"),
    ]


def seen_by_loss(full: Any, loss: str) -> Models:
    """A model, and what of it the loss is to see: its logits, if the loss takes them."""
    trained = models.logits_model(full) if takes_logits(loss) else None
    return Models(full, full if trained is None else trained, trained is not None)


def _behind(layers: list[Any], shape: tuple[int, ...], own: Models) -> Models:
    """One's own model behind layers that scale its input."""
    x = scaled = keras.Input(shape, name="input")
    for layer in layers:
        scaled = layer(scaled)
    full = keras.Model(x, own.full(scaled), name="scaled")
    trained = keras.Model(x, own.trained(scaled), name="scaled") if own.from_logits else full
    return Models(full, trained, own.from_logits)


def check_input(model: Any, shape: tuple[int, ...], source: str) -> None:
    """Raises unless the model takes examples of that shape."""
    shapes = [getattr(model, name, None) for name in ("input_shape", "output_shape")]
    if not all(isinstance(shape, tuple) for shape in shapes):
        raise ValueError("the model must begin with keras.Input, have one input and one output")
    expected = model.input_shape[1:]
    if len(expected) != len(shape) or any(
        a not in (None, b) for a, b in zip(expected, shape, strict=True)
    ):
        raise ValueError(
            f"the model takes examples of shape {expected}; those of {source} have shape {shape}"
        )


def check_shapes(model: Any, task: Task) -> None:
    """Raises unless the model fits the data and their targets."""
    check_input(model, task.train.x.shape[1:], task.dataset.name)
    shape = model.output_shape[1:]
    if shape != (task.outputs,):
        raise ValueError(
            f"the model's output for an example has shape {shape}; {task.loss} on "
            f"{task.dataset.name} needs {(task.outputs,)}"
        )


def describe(task: Task, built: Models, values: Values) -> str:
    """The run in one line, before it starts."""
    parts = [f"{task.train.x.shape[0]:,} training"]
    if task.validation is not None:
        parts.append(f"{task.validation.x.shape[0]:,} validation")
    parts.append(f"{task.test.x.shape[0]:,} test examples")
    name = Path(values.model).name
    return (
        f"{task.dataset.name}: {', '.join(parts)}; {name}: {built.full.count_params():,} "
        f"parameters; {values.optimizer}"
    )

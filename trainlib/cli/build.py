"""From flags to objects: the data set, the model, the optimizer, the loss."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

import trainlib.losses as losses
import trainlib.models as models
import trainlib.registry as registry
from trainlib.base import Optimizer, Schedule
from trainlib.checks import check_integer, check_number
from trainlib.cli.command import Values
from trainlib.cli.flags import AS_LONG_AS_THE_RUN, chosen, hyperparameter_flags
from trainlib.data import Dataset, Examples, load_dataset, split, take
from trainlib.regularizers import Regularizer
from trainlib.transforms import accumulate, chain, param_rules, rules_table

ONE_HOT_LOSSES = ("binary_crossentropy", "categorical_crossentropy")
CLASS_LOSSES = (*ONE_HOT_LOSSES, "sparse_categorical_crossentropy")
FARTHEST = 10.0
"""Standard deviations from the mean at which a column's values end for the model."""


class Task(NamedTuple):
    """Data and what is to be learned of them.

    loss: a name of the registry. outputs: units of the model's last layer. metrics: names.
    """

    dataset: Dataset
    train: Examples
    validation: Examples | None
    test: Examples
    loss: str
    outputs: int
    metrics: tuple[str, ...]

    @property
    def output_activation(self) -> str | None:
        """What turns the model's logits into probabilities."""
        if self.loss not in CLASS_LOSSES:
            return None
        return "sigmoid" if self.loss == "binary_crossentropy" else "softmax"


class Models(NamedTuple):
    """full: what is saved. trained: what the loss sees; shares full's variables.

    from_logits: whether `trained` ends in logits, its probabilities being left to `full`.
    """

    full: Any
    trained: Any
    from_logits: bool


def build_task(values: Values, columns: tuple[str, ...] = ()) -> Task:
    """Loads the data, splits them, and settles the loss.

    Args:
        values: of the flags of `train`.
        columns: the order in which a model takes the columns of a table; () for the table's own.
    """
    dataset = load_dataset(values.dataset, values.data_dir, values.target)
    if columns and dataset.feature_names:
        dataset = _in_order(dataset, columns)
    loss = _loss_name(values.loss, dataset)
    by_class = loss in CLASS_LOSSES
    train, test = (_for_loss(part, loss, dataset) for part in (dataset.train, dataset.test))
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
    names: tuple[str, ...] = (
        ("accuracy",) if by_class else ("mean_squared_error", "mean_absolute_error")
    )
    if values.regularizer is None:  # the loss is the bare loss, and says it all
        names = tuple(name for name in names if name != loss)
    outputs = dataset.classes if by_class else 1
    return Task(dataset, train, validation, test, loss, outputs, names)


def build_models(values: Values, task: Task) -> Models:
    """The model that the flags name, scaling its input unless told otherwise."""
    keras.utils.set_random_seed(values.seed)
    shape = task.train.x.shape[1:]
    from_file, from_code = values.model.endswith(".keras"), ":" in values.model
    if not from_file and not from_code:
        registry.lookup("model", values.model, models.MODELS)
    options = chosen(values, "model", values.model)
    layers = _preprocessing(task) if values.preprocess == "auto" else []
    if values.model in models.MODELS:
        full = models.MODELS[values.model](
            shape, task.outputs, task.output_activation, layers, **options
        )
        return with_logits(full)
    if from_file:
        own = models.load_model(values.model)
    else:
        own = models.from_function(values.model, shape, task.outputs)
    check_shapes(own, task)
    if not layers or models.has_preprocessing(own):
        return with_logits(own)
    return _behind(layers, shape, with_logits(own))


class Optimization(NamedTuple):
    """optimizer: with its clipping and rules. schedule: rate by updates. rate: rate by steps.

    table: `(params) -> lines`, what --param_rules come to.
    """

    optimizer: Optimizer
    schedule: Schedule
    rate: Schedule
    table: Callable[[Any], list[str]]


def build_optimizer(values: Values, steps: int) -> Optimization:
    """The optimizer behind its clipping, for epochs of so many steps."""
    every = values.gradient_accumulation_steps
    check_number("gradient_accumulation_steps", every, at_least=1)
    updates = -(-steps // every)
    factory = registry.lookup("optimizer", values.optimizer)
    options = chosen(values, "optimizer", values.optimizer)
    default = registry.hyperparameters(factory, options.get("convention"))["learning_rate"].default
    rate = options.get("learning_rate", default)
    schedule = _schedule(values, rate, updates * values.epochs)
    options["learning_rate"] = schedule
    clipping = _clipping(values)
    if values.param_rules:
        optimizer = param_rules(
            values.param_rules, factory, before=chain(*clipping) if clipping else None, **options
        )
    else:
        optimizer = chain(*clipping, factory(**options)) if clipping else factory(**options)
    return Optimization(
        accumulate(optimizer, every) if every > 1 else optimizer,
        schedule,
        lambda k: schedule(k // steps * updates + k % steps // every),
        lambda params: rules_table(values.param_rules, params, options),
    )


def _clipping(values: Values) -> list[Optimizer]:
    """The clipping that is asked for: one kind, or none."""
    clipping: list[Optimizer] = [
        clip(**given)
        for clip in registry.CLIPPING.values()
        if (given := _given(values, registry.hyperparameters(clip)))
    ]
    if len(clipping) > 1:
        names = [f"--{flag}" for flag in hyperparameter_flags("clipping")]
        raise ValueError(f"give only one of {', '.join(names)}")
    return clipping


def build_regularizer(values: Values) -> Regularizer | None:
    """The penalty on the kernels, if one is asked for."""
    if values.regularizer is not None:
        registry.lookup("regularizer", values.regularizer)
    options = chosen(values, "regularizer", values.regularizer)
    return registry.REGULARIZERS[values.regularizer](**options) if values.regularizer else None


def build_loss(values: Values, loss: str, from_logits: bool) -> losses.Loss:
    """The loss with its hyperparameters."""
    options = chosen(values, "loss", loss)
    if loss in CLASS_LOSSES:
        options["from_logits"] = from_logits
    return functools.partial(registry.lookup("loss", loss), **options)


def _loss_name(name: str, dataset: Dataset) -> str:
    if name == "auto":
        return "sparse_categorical_crossentropy" if dataset.classes else "mean_squared_error"
    registry.lookup("loss", name)
    if name in CLASS_LOSSES and not dataset.classes:
        raise ValueError(f"loss {name} is for classes, but {dataset.name} has numbers to predict")
    return name


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


def _for_loss(examples: Examples, loss: str, dataset: Dataset) -> Examples:
    """The targets in the form that the loss takes."""
    if loss in ONE_HOT_LOSSES:
        return examples._replace(y=np.eye(dataset.classes, dtype=np.float32)[examples.y])
    return examples if loss in CLASS_LOSSES else examples._replace(y=np.float32(examples.y))


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


def with_logits(full: Any) -> Models:
    """A model, and what of it the loss is to see."""
    trained = models.logits(full)
    return Models(full, full if trained is None else trained, trained is not None)


def _behind(layers: list[Any], shape: tuple[int, ...], own: Models) -> Models:
    """One's own model behind layers that scale its input."""
    x = scaled = keras.Input(shape, name="input")
    for layer in layers:
        scaled = layer(scaled)
    full = keras.Model(x, own.full(scaled), name="scaled")
    trained = keras.Model(x, own.trained(scaled), name="scaled") if own.from_logits else full
    return Models(full, trained, own.from_logits)


def _schedule(values: Values, learning_rate: float, total_steps: int) -> Schedule:
    """The schedule, over the whole run where no decay_steps are given."""
    factory = registry.lookup("schedule", values.schedule)
    options = chosen(values, "schedule", values.schedule)
    for name, hyperparameter in registry.hyperparameters(factory).items():
        if name == AS_LONG_AS_THE_RUN:
            warmup = options.get("warmup_steps", 0)
            options.setdefault(name, max(total_steps - warmup, 1))
        elif hyperparameter.required and name != "initial_learning_rate" and name not in options:
            raise ValueError(f"schedule {values.schedule} needs --{name}")
    check_number("learning_rate", learning_rate, at_least=0)
    return factory(initial_learning_rate=learning_rate, **options)  # type: ignore[no-any-return]


def _given(values: Values, names: dict[str, Any]) -> dict[str, Any]:
    return {name: values[name].value for name in names if values[name].value is not None}


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

"""The loss and the metrics of a trainer, for models with one output or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from trainlib.core.checks import check_number
from trainlib.losses import Loss, LossByOutput
from trainlib.metrics import ExampleMetric, Metric, OutputMetric
from trainlib.training.from_logits import (
    check_from_logits,
    loss_for_model,
    options_of,
    takes_logits,
)
from trainlib.training.model_metrics import metrics_for_model
from trainlib.training.output_names import (
    OutputNames,
    OutputOf,
    entries,
    is_structure,
    names_in,
    names_of_outputs,
)
from trainlib.training.resolve import (
    RESERVED_NAMES,
    Metrics,
    is_custom,
    resolve_loss,
)

Losses: TypeAlias = Any
"""A loss by name, as a function or as an object of Keras; or these by output, as a dict or list."""
FromLogits: TypeAlias = bool | Mapping[str, bool | None] | Sequence[bool | None] | None
"""Whether a model ends in logits: for all outputs, or by output."""
LossWeights: TypeAlias = float | Mapping[str, float] | Sequence[float] | None
"""The weight of each output's loss, by name or in order."""


class Objective(NamedTuple):
    """The loss and the metrics that a step computes from the outputs of a model.

    Attributes:
        loss: loss function of a model with one output, or a `LossByOutput`.
        metrics: the metrics, by name of their result.
    """

    loss: Loss | LossByOutput
    metrics: dict[str, Metric | ExampleMetric | OutputMetric]


def objective_for_model(
    model: Any,
    loss: Losses,
    metrics: Metrics,
    loss_weights: LossWeights = None,
    from_logits: FromLogits = None,
) -> Objective:
    """Return the loss and the metrics for a model, interpreted as by Keras.

    Args:
        model: a Keras model or a `FunctionalModel`.
        loss: as for `Trainer`.
        metrics: as for `Trainer`.
        loss_weights: as for `Trainer`. Default: None, 1 for each.
        from_logits: as for `Trainer`. Default: None, inferred from the model.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a name is unknown, or the arguments do not fit the outputs.
    """
    outputs = names_of_outputs(model)
    if not _is_by_output(loss, outputs, loss_weights):
        are_logits = _of_one_loss(from_logits, loss_weights)
        one = resolve_loss(loss)
        named = metrics_for_model(_of_one_output(metrics, outputs), one, model, are_logits)
        return Objective(loss_for_model(one, model, are_logits), dict(named))
    if outputs is None:
        outputs = names_in(loss)
    given = (
        entries("loss", loss, outputs) if is_structure(loss) else dict.fromkeys(outputs.names, loss)
    )
    losses = {name: None if x is None else resolve_loss(x) for name, x in given.items()}
    logits = _from_logits(from_logits, outputs, losses)
    of_output = {name: OutputOf(model, i) for i, name in enumerate(outputs.names)}
    by_output = LossByOutput(
        {
            name: x if x is None else loss_for_model(x, of_output[name], logits.get(name))
            for name, x in losses.items()
        },
        _weights(loss_weights, outputs, losses),
        outputs.by_order,
    )
    found: dict[str, Metric | ExampleMetric | OutputMetric] = {}
    for name, chosen in _metrics_by_output(metrics, outputs).items():
        named = metrics_for_model(chosen, losses[name], of_output[name], logits.get(name))
        prefix = f"{name}_" if len(outputs.names) > 1 else ""
        for metric, value in named.items():
            _check_unused(prefix + metric, [*found, *by_output.result_names.values()])
            found[prefix + metric] = OutputMetric(name, value)
    return Objective(by_output, found)


def _is_by_output(loss: Losses, outputs: OutputNames | None, loss_weights: LossWeights) -> bool:
    """Return whether each output has a separate loss.

    A custom function is given the outputs in their structure, and so is no loss of each of them.
    A dict of one output is a structure of outputs too.
    """
    if is_structure(loss):
        return True
    several = outputs is not None and (len(outputs.names) > 1 or not outputs.by_order)
    return (several and not is_custom(loss)) or (outputs is not None and loss_weights is not None)


def _of_one_loss(from_logits: FromLogits, loss_weights: LossWeights) -> bool | None:
    """Return `from_logits`, and raise unless the arguments are those of a model with one loss."""
    if loss_weights is not None:
        raise ValueError(
            f"loss_weights needs a loss by output, as in loss={{'main': 'mse', 'aux': 'mse'}}, got "
            f"loss_weights={loss_weights!r} with one loss"
        )
    check_from_logits(from_logits)
    assert from_logits is None or isinstance(from_logits, bool)
    return from_logits


def _of_one_output(metrics: Metrics, outputs: OutputNames | None) -> Metrics:
    """Return the metrics of a model of one output, given directly, by its name or in a list."""
    if isinstance(metrics, Mapping) and any(map(is_structure, metrics.values())):
        names = outputs or OutputNames(tuple(metrics), False)
        listed = list(entries("metrics", metrics, names, None).values())
    elif isinstance(metrics, (list, tuple)) and len(metrics) == 1 and is_structure(metrics[0]):
        listed = list(metrics)
    else:
        return metrics
    if len(listed) != 1:
        raise ValueError(
            f"metrics are given for {len(listed)} outputs, but there is one loss: give a loss for "
            "each output too"
        )
    inner: Metrics = listed[0]
    return inner


def _metrics_by_output(metrics: Metrics, outputs: OutputNames) -> dict[str, Metrics]:
    """Return the metrics of each output that has some."""
    if len(outputs.names) == 1:
        return {outputs.names[0]: _of_one_output(metrics, outputs)}
    if not metrics:
        return {}
    if not is_structure(metrics):
        raise TypeError(
            "metrics of a model of several outputs must be a dict by their names, or a list in "
            f"their order, got {metrics!r}: the outputs are {', '.join(outputs.names)}"
        )
    given = entries("metrics", metrics, outputs, None)
    return {
        name: value if is_structure(value) else [value]
        for name, value in given.items()
        if value is not None
    }


def _weights(
    loss_weights: LossWeights, outputs: OutputNames, losses: Mapping[str, Loss | None]
) -> dict[str, float]:
    """Return the weights of the losses by output."""
    trained = [name for name, loss in losses.items() if loss is not None]
    if loss_weights is None:
        return {}
    if not is_structure(loss_weights):
        check_number("loss_weights", loss_weights)
        if len(trained) > 1:
            raise ValueError(
                f"loss_weights must have a weight for each of the outputs {', '.join(trained)}, "
                f"got {loss_weights!r}"
            )
        return dict.fromkeys(trained, float(loss_weights))  # type: ignore[arg-type]
    optional = [name for name in outputs.names if name not in trained]
    given = entries("loss_weights", loss_weights, outputs, optional)
    return {name: given[name] for name in trained}


def _from_logits(
    from_logits: FromLogits, outputs: OutputNames, losses: Mapping[str, Any]
) -> dict[str, bool | None]:
    """Return whether each output is logits; one value applies to all losses that take logits."""
    if not is_structure(from_logits):
        check_from_logits(from_logits)
        names = [name for name, loss in losses.items() if takes_logits(options_of(loss)[0])]
        if from_logits is not None and not names:
            raise ValueError(f"from_logits is {from_logits}, but no loss has a form for logits")
        return dict.fromkeys(names, from_logits)  # type: ignore[arg-type]
    given = entries("from_logits", from_logits, outputs, None)
    for value in given.values():
        check_from_logits(value)
    return given


def _check_unused(name: str, used: Sequence[str]) -> None:
    """Raise `ValueError` if two results have a name."""
    if name in used or name in RESERVED_NAMES:
        raise ValueError(
            f"two results are named {name!r}: give the metric another name, as in "
            'metrics={"output": {"name": metric}}'
        )

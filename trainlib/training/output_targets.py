"""The targets and sample weights by output, for models with several outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainlib.losses import LossByOutput
from trainlib.metrics import OutputMetric
from trainlib.step.state import StepConfig
from trainlib.training.batches import Reader, class_factors, read_pair, weighted
from trainlib.training.output_names import OutputNames, entries, is_structure


def reader_of(config: StepConfig) -> Reader:
    """Return the reader of pairs for a step: targets by output if the loss is by output."""
    if not isinstance(config.loss_fn, LossByOutput):
        return read_pair
    of_metrics = {m.output for m in config.metrics.values() if isinstance(m, OutputMetric)}
    outputs = OutputNames(tuple(config.loss_fn.losses), config.loss_fn.by_order)
    trained = config.loss_fn.trained
    used = [name for name in outputs.names if name in trained or name in of_metrics]

    def read(name: str, data: Any) -> tuple[Any, ...]:
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            return read_pair(name, data)  # raises
        x, y, *weight = data
        targets = _targets(name, y, outputs, used)
        if not weight or weight[0] is None:
            return read_pair(name, (x, targets))
        if not is_structure(weight[0]):
            return read_pair(name, (x, targets, weight[0]))
        given = entries(f"sample_weight of {name}", weight[0], outputs, None)
        weights = {
            output: np.ones(len(y), np.float32) if given.get(output) is None else given[output]
            for output, y in targets.items()
        }
        return read_pair(name, (x, targets, weights))

    return read


def _targets(name: str, y: Any, outputs: OutputNames, used: list[str]) -> dict[str, Any]:
    """Return the targets of the outputs that have a loss or metrics, by their names."""
    argument = f"y of {name}"
    if not is_structure(y):
        if len(used) == 1:
            return {used[0]: y}
        raise ValueError(
            f"{argument} is one array, but outputs {', '.join(used)} need targets each: give a "
            "dict by these names, or a list in this order"
        )
    if not isinstance(y, Mapping) and len(y) == len(used) < len(outputs.names):
        return dict(zip(used, y, strict=True))
    unused = [output for output in outputs.names if output not in used]
    given = entries(argument, y, outputs, unused)
    for output in used:
        if given[output] is None:
            raise ValueError(f"{argument} is None for output {output!r}, which has a loss")
    return {output: given[output] for output in used}


def with_class_weights(class_weight: Any, read: Reader, config: StepConfig) -> Reader:
    """Return a reader of pairs that multiplies the sample weights by those of the classes.

    Args:
        class_weight: weights by class index; a class without a weight has weight 1. For a model of
            several outputs, such a mapping for each of them, by name or in a list; None for weight
            1.
        read: function that reads pairs as tuples.
        config: configuration of the step, for its loss.

    Raises:
        ValueError: the outputs are not those of the loss.
    """
    if not isinstance(config.loss_fn, LossByOutput):
        _check_classes(class_weight)

        def read_one(name: str, data: Any) -> tuple[Any, ...]:
            x, y, *weight = read(name, data)
            return x, y, weighted(class_factors(name, y, class_weight), *weight)

        return read_one
    outputs = OutputNames(tuple(config.loss_fn.losses), config.loss_fn.by_order)
    if isinstance(class_weight, Mapping) and not any(map(is_structure, class_weight.values())):
        raise ValueError(
            "class_weight of a model of several outputs must have an entry for an output, as in "
            f"{{{outputs.names[0]!r}: {{0: 1.0, 1: 2.5}}}}, got {class_weight!r}"
        )
    by_output = entries("class_weight", class_weight, outputs, None)
    for weights in by_output.values():
        if weights is not None:
            _check_classes(weights)

    def read_each(name: str, data: Any) -> tuple[Any, ...]:
        x, y, *weight = read(name, data)
        weights = {}
        for output, targets in y.items():
            given = [w[output] if isinstance(w, Mapping) else w for w in weight]
            factors = np.ones(len(targets), np.float32)
            if by_output.get(output) is not None:
                factors = class_factors(f"{name} for {output!r}", targets, by_output[output])
            weights[output] = weighted(factors, *given)
        return x, y, weights

    return read_each


def _check_classes(class_weight: Any) -> None:
    """Raise `TypeError` unless the weights of classes are a mapping."""
    if not isinstance(class_weight, Mapping):
        raise TypeError(
            f"class_weight must map classes to weights, as in {{0: 1.0, 1: 2.5}}, got "
            f"{class_weight!r}"
        )

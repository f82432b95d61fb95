"""One output of a model with several: its predictions, mask, targets and weights."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from trainlib.core.checks import nearest
from trainlib.core.tree import leaves_by_path
from trainlib.core.types import Tree
from trainlib.losses import LossByOutput
from trainlib.metrics import ExampleMetric, Metric, OutputMetric
from trainlib.step.mixed_targets import MixedTargets
from trainlib.step.state import Batch, ModelOutput, StepConfig


def of_output(
    config: StepConfig,
    metric: Metric | ExampleMetric | OutputMetric,
    output: ModelOutput,
    batch: Batch,
) -> tuple[Metric | ExampleMetric, ModelOutput, Batch]:
    """Return a metric with the output and the batch on which it is computed.

    Raises:
        ValueError: the model has no such output, or the config has one loss for all.
    """
    if not isinstance(metric, OutputMetric):
        return metric, output, batch
    if not isinstance(config.loss_fn, LossByOutput):
        raise ValueError("a metric of an output needs a LossByOutput, which names the outputs")
    outputs = outputs_by_name(config.loss_fn, output)
    if metric.output not in outputs:
        raise ValueError(f"there is no output {metric.output!r}, only {', '.join(outputs)}")
    return metric.metric, outputs[metric.output], batch_of(metric.output, batch)


def outputs_by_name(losses: LossByOutput, output: ModelOutput) -> dict[str, ModelOutput]:
    """Return a `ModelOutput` for each output of a model, by name.

    Raises:
        ValueError: the model has other outputs than the losses are for.
    """
    leaves = leaves_by_path(output.y_pred)
    masks = [None] * len(leaves) if output.mask is None else tf.nest.flatten(output.mask)
    names = list(losses.losses)
    in_order = losses.by_order and not isinstance(output.y_pred, Mapping)
    found = names if in_order else [path or names[0] for path, _ in leaves]
    if len(leaves) != len(names) or set(found) != set(names):
        raise ValueError(_other_outputs(losses, output.y_pred))
    return {
        name: output._replace(y_pred=y_pred, mask=mask)
        for name, (_, y_pred), mask in zip(found, leaves, masks, strict=True)
    }


def batch_of(name: str, batch: Batch) -> Batch:
    """Return a batch with the targets and the weights of one output."""
    x, y, *weight = batch
    if isinstance(y, MixedTargets):
        of_first = batch_of(name, (x, y.first, *weight))
        return x, y.of_output(name), *of_first[2:]
    if not isinstance(y, Mapping):
        raise ValueError(
            f"the targets must be a mapping by output, such as {{{name!r}: ...}}, got "
            f"{type(y).__name__}"
        )
    if name not in y:
        raise ValueError(f"there are no targets for output {name!r}, only for {', '.join(y)}")
    return x, y[name], *(w[name] if isinstance(w, Mapping) else w for w in weight)


def _other_outputs(losses: LossByOutput, y_pred: Tree) -> str:
    """Return the error message for a model whose outputs are not those of the losses."""
    names = list(losses.losses)
    if not tf.nest.is_nested(y_pred):
        return f"the model has one output, but the loss is for {len(names)}: {', '.join(names)}"
    paths = [path for path, _ in leaves_by_path(y_pred)]
    if not isinstance(y_pred, Mapping):
        return (
            f"the model returns {len(paths)} outputs in a {type(y_pred).__name__}, without names: "
            f"give loss, loss_weights and metrics as lists of {len(paths)}, got "
            f"{', '.join(names)}"
        )
    if losses.by_order:
        return f"the model returns the outputs {', '.join(paths)} by name: give the loss by these"
    other = next((name for name in names if name not in paths), "")
    if not other:
        missing = next(path for path in paths if path not in names)
        return f"loss has no entry for output {missing!r}: write None if it has no loss"
    near = nearest(other, paths)
    hint = f"did you mean {near!r}? " if near else ""
    return f"the model has no output {other!r}: {hint}its outputs are {', '.join(paths)}"

"""Run the metrics of Keras, and those of trainlib over uneven parts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import trainlib.metrics as metrics
import trainlib.registry as registry
from trainlib.verify.case import ORDINARY, FunctionCase, Rounding
from trainlib.verify.function_cases.metric_data import CUTS, WEIGHT, Data
from trainlib.verify.peers import floatx
from trainlib.verify.problem import Arrays


def inputs_of(data: Data) -> Callable[[str], Arrays]:
    """Return the function of the dtype that makes the inputs of a case."""

    def inputs(dtype: str) -> Arrays:
        y_true, y_pred = data(np.random.default_rng(3), dtype)
        return {"y_true": y_true, "y_pred": y_pred, "weight": WEIGHT.astype(dtype)}

    return inputs


def results_in_parts(
    make: Callable[[], Any],
    cuts: tuple[int, ...],
    dtype: str,
    y_true: Any,
    y_pred: Any,
    weight: Any,
) -> Any:
    """Return the results without and with weights, and the values of a per-example function."""
    made = make()
    metric = metrics.as_metric(made)
    results = {
        "result": _in_parts(metric, cuts, y_true, y_pred),
        "weighted": _in_parts(metric, cuts, y_true, y_pred, weight),
    }
    if made is not metric:
        results["values"] = made(y_true, y_pred)
    return results


def _in_parts(metric: metrics.Metric, cuts: tuple[int, ...], *arrays: Any) -> Any:
    """Return the result of the merged states of parts."""
    shape = arrays[1].shape
    state = metric.empty(shape[-1] if shape.rank > 1 else 1)
    for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
        state = metrics.merge(state, metric.from_model_output(*(a[start:stop] for a in arrays)))
    return metric.compute(state)


class KerasMetric(NamedTuple):
    """A metric of Keras.

    Attributes:
        name: a class of `keras.metrics`, or a function of `keras.losses`, whose mean is the metric.
        options: its options; None for those of the metric of trainlib.
        values: the name of the per-example function of `keras.metrics` that is compared too.
        read: `(metric) -> result`, where it is not `metric.result()`.
        arguments: `(y_true, y_pred) -> arguments of update_state`, where it takes others.
        outputs: "result" and "weighted", or one of them.
    """

    name: str
    options: dict[str, Any] | None = None
    values: str = ""
    read: Callable[[Any], Any] | None = None
    arguments: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]] | None = None
    outputs: tuple[str, ...] = ("result", "weighted")

    @property
    def is_loss(self) -> bool:
        """Whether it is the mean of a loss."""
        return self.name.islower()


TAKES_INDICES = ("Sparse", "sparse", "IoU", "MeanIoU", "circle", "ctc", "categorical_generalized")
"""What the names of metrics begin with that take class indices; others take one-hot rows."""


def _of_keras(
    peer: KerasMetric,
    options: dict[str, Any],
    dtype: str,
    y_true: np.ndarray,
    y_pred: np.ndarray,
    weight: np.ndarray,
) -> Arrays:
    """Return the results of a Keras metric, and the values of the function of the same name."""
    import keras

    indices = y_true.ndim < y_pred.ndim and y_pred.shape[-1] > 1
    if indices and not peer.name.startswith(TAKES_INDICES):
        y_true = np.eye(y_pred.shape[-1], dtype=dtype)[y_true]
    if "TopK" in peer.name:
        y_pred = y_pred.astype("float32")
    arguments = peer.arguments(y_true, y_pred) if peer.arguments else (y_true, y_pred)
    with floatx(dtype):
        make: Any = getattr(keras.metrics, "" if peer.is_loss else peer.name, None)
        if make is None:
            function = getattr(keras.losses, peer.name)
            make = functools.partial(keras.metrics.MeanMetricWrapper, function)
        metric = make(dtype=dtype, **options)
        found = {}
        for name in peer.outputs:
            metric.reset_state()
            metric.update_state(*arguments, weight if name == "weighted" else None)
            found[name] = np.asarray(peer.read(metric) if peer.read else metric.result())
        if peer.values:
            function = getattr(keras.metrics, peer.values)
            found["values"] = np.asarray(function(y_true, y_pred, **options))
    return found


def case(
    name: str,
    form: str,
    peer: str | KerasMetric,
    data: Data,
    options: dict[str, Any] | None = None,
    *,
    make: Callable[[], Any] | None = None,
    cuts: tuple[int, ...] = CUTS,
    rounding: Rounding = ORDINARY,
) -> FunctionCase:
    """Make a case.

    Args:
        name: name of the metric.
        form: form of the case.
        peer: the metric of Keras, or its class.
        data: `(rng, dtype) -> (y_true, y_pred)`.
        options: options in trainlib, and in Keras unless the peer has its own.
        make: makes the metric of trainlib, if it is not the one of that name with the options.
        cuts: boundaries of the parts whose states are merged.
        rounding: where Keras rounds differently.
    """
    options = options or {}
    ours = make or functools.partial(registry.make_metric, name, **options)
    peer = KerasMetric(peer) if isinstance(peer, str) else peer
    run = functools.partial(_of_keras, peer, options if peer.options is None else peer.options)
    home = "losses" if peer.is_loss else "metrics"
    return FunctionCase(
        "metric",
        name,
        form,
        inputs_of(data),
        functools.partial(results_in_parts, ours, cuts),
        {"keras": run},
        needs={"keras": f"keras.{home}.{peer.name}"},
        rounding=rounding,
    )

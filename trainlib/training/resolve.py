"""The loss, the metrics and the regularizer of a trainer, given by name or as functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from trainlib.core.tree import resolve_mask
from trainlib.core.types import Tree
from trainlib.metrics import ExampleMetric, Metric, make_metric
from trainlib.registry import lookup
from trainlib.regularizers import Regularizer, restrict
from trainlib.transforms.decay import Mask

RESERVED_NAMES = ("loss", "epoch", "step", "seconds")
"""Names of results that are not metrics."""
Metrics: TypeAlias = Sequence[str | ExampleMetric] | Mapping[str, str | ExampleMetric | Metric]


def metrics_by_name(metrics: Metrics) -> dict[str, Metric | ExampleMetric]:
    """Return metrics by name: the keys of a mapping, names of the registry, or function names."""
    if isinstance(metrics, str):
        raise TypeError(f"metrics must be a list, got {metrics!r}: write [{metrics!r}]")
    if isinstance(metrics, Metric) or any(isinstance(m, Metric) for m in metrics):
        raise TypeError('a Metric needs a name: write metrics={"f1": tl.metrics.f1_score()}')
    by_name: dict[str, Metric | ExampleMetric] = {}
    pairs = metrics.items() if isinstance(metrics, Mapping) else ((_name(m), m) for m in metrics)
    for name, metric in pairs:
        if name in by_name or name in RESERVED_NAMES:
            raise ValueError(
                f"two results are named {name!r}: give each metric a different name, as in "
                'metrics={"name": metric}'
            )
        by_name[name] = metric if isinstance(metric, Metric) else _metric(metric)
    return by_name


def _name(metric: Any) -> str:
    """Return the name of a metric among the results."""
    return metric if isinstance(metric, str) else getattr(metric, "__name__", repr(metric))


def _metric(metric: Any) -> Metric | ExampleMetric:
    """Return the registry's metric of that name with its defaults, or the function itself."""
    found: ExampleMetric = resolve_function("metric", metric)
    return make_metric(found) if isinstance(metric, str) else found


def resolve_function(kind: str, value: Any) -> Any:
    """Return the registry's function of that name, or the function itself."""
    if isinstance(value, str):
        return lookup(kind, value)
    if not callable(value):
        raise TypeError(f"{kind} must be a name or a function (y_true, y_pred), got {value!r}")
    return value


def restrict_regularizer(
    regularizer: Regularizer | None, mask: Mask, params: Tree
) -> Regularizer | None:
    """Return the regularizer on the parameters of the mask, after checking the mask on them."""
    if regularizer is None:
        return None
    if not callable(regularizer):
        raise TypeError(f"regularizer must be a function such as tl.l2(), got {regularizer!r}")
    resolve_mask(mask, params)
    return restrict(regularizer, mask)

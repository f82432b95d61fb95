"""What a trainer is given by name or as functions of one's own: loss, metrics, regularizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from trainlib.core.tree import resolve_mask
from trainlib.core.types import Tree
from trainlib.metrics import ExampleMetric, Metric, make_metric
from trainlib.registry import lookup
from trainlib.regularizers import Regularizer, restrict
from trainlib.transforms.decay import Mask

TAKEN = ("loss", "epoch", "step", "seconds")
"""Names of results that are no metrics'."""
Metrics: TypeAlias = Sequence[str | ExampleMetric] | Mapping[str, str | ExampleMetric | Metric]


def metrics_by_name(metrics: Metrics) -> dict[str, Metric | ExampleMetric]:
    """Metrics by name: the names of a mapping, of the registry, or of functions themselves."""
    if isinstance(metrics, str):
        raise TypeError(f"metrics must be a list, got {metrics!r}: write [{metrics!r}]")
    if isinstance(metrics, Metric) or any(isinstance(m, Metric) for m in metrics):
        raise TypeError('a Metric needs a name: write metrics={"f1": tl.metrics.f1_score()}')
    named: dict[str, Metric | ExampleMetric] = {}
    pairs = metrics.items() if isinstance(metrics, Mapping) else ((_name(m), m) for m in metrics)
    for name, metric in pairs:
        if name in named or name in TAKEN:
            raise ValueError(
                f"two results are named {name!r}: give each metric a name of its own, as in "
                'metrics={"name": metric}'
            )
        named[name] = metric if isinstance(metric, Metric) else _metric(metric)
    return named


def _name(metric: Any) -> str:
    return metric if isinstance(metric, str) else getattr(metric, "__name__", repr(metric))


def _metric(metric: Any) -> Metric | ExampleMetric:
    """The metric of that name in the registry, with its defaults, or the function itself."""
    found: ExampleMetric = function_of("metric", metric)
    return make_metric(found) if isinstance(metric, str) else found


def function_of(kind: str, named: Any) -> Any:
    """The function of that name in the registry, or the function itself."""
    if isinstance(named, str):
        return lookup(kind, named)
    if not callable(named):
        raise TypeError(f"{kind} must be a name or a function (y_true, y_pred), got {named!r}")
    return named


def restricted(regularizer: Regularizer | None, mask: Mask, params: Tree) -> Regularizer | None:
    """The regularizer over the parameters of the mask, which is tried on them."""
    if regularizer is None:
        return None
    if not callable(regularizer):
        raise TypeError(f"regularizer must be a function such as tl.l2(), got {regularizer!r}")
    resolve_mask(mask, params)
    return restrict(regularizer, mask)

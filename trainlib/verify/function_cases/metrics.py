"""Cases of metrics: merged states of uneven parts, compared with Keras on the whole batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import trainlib.metrics as metrics
from trainlib.verify.case import FunctionCase
from trainlib.verify.peers import floatx
from trainlib.verify.problem import Arrays

SIZE, CLASSES = 41, 5
CUTS = (0, 1, 14, 14, SIZE)
"""Boundaries of the parts: one example, many, none, the rest."""
WEIGHT = np.resize([1.0, 0.0, 0.5, 3.0, 0.25], SIZE)

Data = Callable[[np.random.Generator, str], tuple[np.ndarray, np.ndarray]]


def ties(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return scores with few values, many of them 0.5 and many equal."""
    return (rng.integers(0, 9, shape) / 8).astype(dtype)


def fine(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return scores, half of them at the 200 thresholds of an area, and both ends."""
    p = np.where(rng.random(shape) < 0.5, rng.random(shape), rng.integers(0, 200, shape) / 199)
    p.flat[0], p.flat[-1] = 0, 1
    return p.astype(dtype)


def binary(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return binary labels and scores of shape [batch]."""
    return rng.integers(0, 2, SIZE), ties(rng, (SIZE,), dtype)


def column(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return binary labels of shape [batch] and scores of shape [batch, 1]."""
    return rng.integers(0, 2, SIZE).astype(dtype), ties(rng, (SIZE, 1), dtype)


def labels(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return independent labels and scores of shape [batch, K]."""
    return rng.integers(0, 2, (SIZE, CLASSES)), ties(rng, (SIZE, CLASSES), dtype)


def one_hot(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return one-hot rows and scores."""
    return np.eye(CLASSES)[rng.integers(0, CLASSES, SIZE)], ties(rng, (SIZE, CLASSES), dtype)


def classes(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return class indices and scores with ties."""
    return rng.integers(0, CLASSES, SIZE), ties(rng, (SIZE, CLASSES), dtype)


def distinct(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return class indices and scores without ties."""
    return rng.integers(0, CLASSES, SIZE), rng.random((SIZE, CLASSES)).astype(dtype)


def fine_binary(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return binary labels and scores at the thresholds of an area."""
    return rng.integers(0, 2, SIZE), fine(rng, (SIZE,), dtype)


def fine_labels(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return independent labels and scores at the thresholds of an area."""
    return rng.integers(0, 2, (SIZE, CLASSES)), fine(rng, (SIZE, CLASSES), dtype)


def all_true(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return labels that are all 1, and scores."""
    return np.ones(SIZE, np.int64), fine(rng, (SIZE,), dtype)


def logits(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return binary labels and logits."""
    return rng.integers(0, 2, SIZE), rng.normal(scale=3, size=SIZE).astype(dtype)


def numbers(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and predictions of three outputs."""
    y, e = rng.normal(size=(2, SIZE, 3))
    return y.astype(dtype), (y + e * [0.25, 0.5, 2.0]).astype(dtype)


def number(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return targets of shape [batch] and predictions of shape [batch, 1]."""
    y, p = numbers(rng, dtype)
    return y[:, 0], p[:, :1]


def _inputs(data: Data) -> Callable[[str], Arrays]:
    def inputs(dtype: str) -> Arrays:
        y_true, y_pred = data(np.random.default_rng(3), dtype)
        return {"y_true": y_true, "y_pred": y_pred, "weight": WEIGHT.astype(dtype)}

    return inputs


def _ours(make: Callable[[], Any], dtype: str, y_true: Any, y_pred: Any, weight: Any) -> Any:
    """Return the results without and with weights, and the values of a per-example function."""
    made = make()
    metric = metrics.as_metric(made)
    results = {
        "result": _in_parts(metric, y_true, y_pred),
        "weighted": _in_parts(metric, y_true, y_pred, weight),
    }
    if made is not metric:
        results["values"] = made(y_true, y_pred)
    return results


def _in_parts(metric: metrics.Metric, *arrays: Any) -> Any:
    """Return the result of the merged states of parts."""
    shape = arrays[1].shape
    state = metric.empty(shape[-1] if shape.rank > 1 else 1)
    for start, stop in zip(CUTS[:-1], CUTS[1:], strict=True):
        state = metrics.merge(state, metric.from_model_output(*(a[start:stop] for a in arrays)))
    return metric.compute(state)


def _of_keras(
    peer: str,
    options: dict[str, Any],
    values: str,
    dtype: str,
    y_true: np.ndarray,
    y_pred: np.ndarray,
    weight: np.ndarray,
) -> Arrays:
    """Return the results of a Keras metric, and the values of the function of the same name."""
    import keras

    if y_true.ndim < y_pred.ndim and y_pred.shape[-1] > 1 and not peer.startswith("Sparse"):
        y_true = np.eye(y_pred.shape[-1], dtype=dtype)[y_true]
    if "TopK" in peer:
        y_pred = y_pred.astype("float32")
    with floatx(dtype):
        metric = getattr(keras.metrics, peer)(dtype=dtype, **options)
        found = {}
        for name, weights in (("result", None), ("weighted", weight)):
            metric.reset_state()
            metric.update_state(y_true, y_pred, weights)
            result = metric.total_cm if peer == "MeanIoU" else metric.result()
            found[name] = np.asarray(result)
        if options.get("num_regressors"):
            del found["weighted"]  # Keras counts targets of weight 0 among them.
        if values:
            found["values"] = np.asarray(getattr(keras.metrics, values)(y_true, y_pred, **options))
    return found


def _case(
    name: str,
    form: str,
    peer: str,
    data: Data,
    options: dict[str, Any] | None = None,
    theirs: dict[str, Any] | None = None,
    *,
    make: Callable[[], Any] | None = None,
    values: str = "",
) -> FunctionCase:
    """Make a case.

    Args:
        name: of the metric.
        form: of the case.
        peer: the class of Keras.
        data: `(rng, dtype) -> (y_true, y_pred)`.
        options: of trainlib, and of Keras unless `theirs` is given.
        theirs: the options of Keras.
        make: makes the metric of trainlib, if it is not the one of that name with the options.
        values: the name of Keras's per-example function.
    """
    options = options or {}
    ours = make or functools.partial(metrics.make_metric, getattr(metrics, name), **options)
    run = functools.partial(_of_keras, peer, options if theirs is None else theirs, values)
    return FunctionCase(
        "metric",
        name,
        form,
        _inputs(data),
        functools.partial(_ours, ours),
        {"keras": run},
        needs={"keras": f"keras.metrics.{peer}"},
    )


def _by_example() -> Iterator[FunctionCase]:
    """Yield the cases of per-example functions."""
    for name, peer, data in (
        ("accuracy", "SparseCategoricalAccuracy", classes),
        ("sparse_categorical_accuracy", "SparseCategoricalAccuracy", classes),
        ("categorical_accuracy", "CategoricalAccuracy", one_hot),
    ):
        values = name if name != "accuracy" else "sparse_categorical_accuracy"
        yield _case(name, "", peer, data, values=values)
    yield _case("accuracy", "one-hot", "CategoricalAccuracy", one_hot)
    for k in (2, 5):
        for name, peer, data in (
            ("top_k_categorical_accuracy", "TopKCategoricalAccuracy", one_hot),
            ("sparse_top_k_categorical_accuracy", "SparseTopKCategoricalAccuracy", classes),
        ):
            yield _case(name, f"k={k}", peer, data, {"k": k}, values=name)
    name, peer = "binary_accuracy", "BinaryAccuracy"
    for form, data in (("", binary), ("column", column), ("labels", labels)):
        values = name if data is not column else ""
        yield _case(name, form, peer, data, values=values)
    options = {"threshold": 0.25}
    yield _case(name, "threshold=0.25", peer, labels, options, values=name)
    for name in ("mean_squared_error", "mean_absolute_error"):
        peer = name.title().replace("_", "")
        yield _case(name, "", peer, numbers, values=name)


def _regression() -> Iterator[FunctionCase]:
    name, peer = "root_mean_squared_error", "RootMeanSquaredError"
    yield _case(name, "", peer, numbers)
    yield _case(name, "one output", peer, number)
    for aggregation in ("uniform_average", "variance_weighted_average", "none"):
        ours = {"class_aggregation": aggregation}
        theirs = ours if aggregation != "none" else {"class_aggregation": None}
        yield _case("r2_score", aggregation, "R2Score", numbers, ours, theirs)
    adjusted = {"num_regressors": 7}
    yield _case("r2_score", "num_regressors=7", "R2Score", numbers, adjusted)
    yield _case("r2_score", "one output", "R2Score", number)


def _classification() -> Iterator[FunctionCase]:
    for name in ("precision", "recall"):
        peer = name.title()
        for form, data in (("", binary), ("column", column), ("classes", classes)):
            yield _case(name, form, peer, data)
        for options in (
            {"thresholds": 0.25},
            {"thresholds": [0.0, 0.5, 1.0]},
            {"top_k": 2},
            {"top_k": 3, "thresholds": 0.5},
            {"class_id": 1},
            {"class_id": 4, "top_k": 2, "thresholds": [0.25, 0.5]},
        ):
            form = ", ".join(f"{k}={x}" for k, x in options.items())
            yield _case(name, form, peer, labels, options)
    for average in ("macro", "micro", "weighted", "none"):
        for threshold in (None, 0.5):
            ours = {"average": average, "threshold": threshold}
            theirs = ours | ({"average": None} if average == "none" else {})
            form = average if threshold is None else f"{average}, threshold={threshold}"
            yield _case("f1_score", form, "F1Score", labels, ours, theirs)
    yield _case("f1_score", "classes", "F1Score", distinct, {}, {"average": "macro"})
    theirs = {"num_classes": CLASSES, "sparse_y_pred": False, "sparse_y_true": False}
    yield _case("confusion_matrix", "", "MeanIoU", classes, {}, theirs)
    yield _case("confusion_matrix", "one-hot", "MeanIoU", one_hot, {}, theirs)


def _areas() -> Iterator[FunctionCase]:
    for curve in ("ROC", "PR"):
        for method in ("interpolation", "minoring", "majoring"):
            options: dict[str, Any] = {"curve": curve, "summation_method": method}
            yield _case("auc", f"{curve}, {method}", "AUC", fine_binary, options)
        for count in (2, 50):
            options = {"curve": curve, "num_thresholds": count}
            yield _case("auc", f"{curve}, num_thresholds={count}", "AUC", labels, options)
        options = {"curve": curve, "multi_label": True}
        yield _case("auc", f"{curve}, multi_label", "AUC", fine_labels, options)
        yield _case("auc", f"{curve}, no negatives", "AUC", all_true, {"curve": curve})
        yield _case("auc", f"{curve}, classes", "AUC", distinct, {"curve": curve})

        def make(curve: str = curve) -> metrics.Metric:
            return metrics.on_probabilities(metrics.auc(curve=curve), "sigmoid")

        theirs = {"curve": curve, "from_logits": True}
        yield _case("auc", f"{curve}, logits", "AUC", logits, theirs=theirs, make=make)


CASES: list[FunctionCase] = [*_by_example(), *_regression(), *_classification(), *_areas()]

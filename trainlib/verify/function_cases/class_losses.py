"""Cases of cross-entropies and focal losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from trainlib.verify.case import FunctionCase, Rounding
from trainlib.verify.function_cases.loss_data import CHANNELS_FIRST, RANK_3, classes, of
from trainlib.verify.function_cases.loss_peers import case, in_keras
from trainlib.verify.problem import Arrays

KERAS_CLIPS = "Keras clips the softmax or sigmoid of logits; these stay inside of its bounds"
LOGITS = {"from_logits": True}
SMOOTH = {"label_smoothing": 0.1}
FIRST = {"axis": 1}
CLIPPED = Rounding(KERAS_CLIPS)
IN_FLOAT32 = {"float32": 1e-4}
FAR_LOGITS = Rounding(
    "Optax takes differences of logits of 800, which float32 rounds by 3e-5", IN_FLOAT32
)


def keras_by_last_axis(dtype: str, y_true: np.ndarray, y_pred: np.ndarray) -> Arrays:
    """Return Keras's loss of classes on axis 1, moved to the last axis, which it requires."""
    moved = np.moveaxis(y_pred, 1, -1)
    name = "sparse_categorical_crossentropy"
    found = in_keras(name, **LOGITS)(dtype, y_true=y_true, y_pred=moved)
    return found | {"gradient": np.moveaxis(found["gradient"], -1, 1)}


def binary_cases() -> list[FunctionCase]:
    """Make the cases of binary cross-entropy."""
    name = "binary_crossentropy"

    def logits(smoothing: float, axis: int = -1) -> dict[str, Any]:
        def smooth(y: Any) -> Any:
            return y * (1 - smoothing) + smoothing / 2

        def torch(f: Any, y: Any, z: Any) -> Any:
            loss = f.binary_cross_entropy_with_logits(z, smooth(y), reduction="none")
            return loss.mean(axis)

        return {
            "torch": torch,
            "optax": lambda o, y, z: o.sigmoid_binary_cross_entropy(z, smooth(y)).mean(axis),
        }

    def torch_probabilities(f: Any, y: Any, p: Any) -> Any:
        return f.binary_cross_entropy(p, y, reduction="none").mean(-1)

    def data(outputs: str, shape: tuple[int, ...] = (12, 5)) -> Callable[[str], Arrays]:
        return of(classes, "binary", outputs, shape)

    return [
        case(name, "", data("unnormalised"), torch=torch_probabilities),
        case(name, "edges", data("edges")),
        case(name, "smoothing", data("edges"), SMOOTH),
        case(name, "logits", data("logits"), LOGITS, **logits(0.0)),
        case(name, "logits, smoothing", data("logits"), LOGITS | SMOOTH, **logits(0.1)),
        case(name, "far logits", data("far logits"), LOGITS, **logits(0.0)),
        case(name, "axis 1", data("edges", RANK_3), FIRST),
        case(name, "logits, axis 1", data("logits", RANK_3), FIRST | LOGITS, **logits(0.0, 1)),
    ]


def categorical_cases() -> list[FunctionCase]:
    """Make the cases of cross-entropy with one-hot rows and distributions."""
    name = "categorical_crossentropy"

    def logits(smoothing: float = 0.0, axis: int = -1) -> dict[str, Any]:
        return {
            "torch": lambda f, y, z: f.cross_entropy(
                z, y, label_smoothing=smoothing, reduction="none"
            ),
            "optax": lambda o, y, z: o.softmax_cross_entropy(
                z, o.smooth_labels(y, smoothing), axis=axis
            ),
        }

    first = of(classes, "soft", "logits", CHANNELS_FIRST, axis=1)
    return [
        case(name, "", of(classes, "one-hot")),
        case(name, "distributions", classes),
        case(name, "unnormalised", of(classes, "soft", "unnormalised", RANK_3)),
        case(name, "edges", of(classes, "one-hot", "edges")),
        case(name, "smoothing", of(classes, "one-hot", "edges"), SMOOTH),
        case(name, "axis 1", of(classes, "soft", "edges", CHANNELS_FIRST, axis=1), FIRST),
        case(name, "logits", of(classes, "soft", "logits"), LOGITS, **logits()),
        case(
            name,
            "logits, smoothing",
            of(classes, "one-hot", "logits"),
            LOGITS | SMOOTH,
            **logits(0.1),
        ),
        case(name, "far logits", of(classes, "one-hot", "far logits"), LOGITS, **logits()),
        case(name, "logits, axis 1", first, LOGITS | FIRST, **logits(axis=1)),
    ]


def sparse_categorical_cases() -> list[FunctionCase]:
    """Make the cases of cross-entropy with class indices."""
    name = "sparse_categorical_crossentropy"
    peers: dict[str, Any] = {"torch": sparse_in_torch, "optax": sparse_in_optax}
    first = of(classes, "indices", "logits", CHANNELS_FIRST, axis=1)

    def data(outputs: str, ignored: int | None = None) -> Callable[[str], Arrays]:
        return of(classes, "indices", outputs, ignored=ignored)

    def ignoring(ignored: int) -> FunctionCase:
        return case(
            name,
            f"logits, without class {ignored}",
            data("logits", ignored),
            LOGITS | {"ignore_class": ignored},
            torch=lambda f, y, z: f.cross_entropy(z, y, ignore_index=ignored, reduction="none"),
        )

    return [
        case(name, "", data("probabilities")),
        case(name, "unnormalised", data("unnormalised")),
        case(name, "edges", data("edges")),
        case(name, "logits", data("logits"), LOGITS, **peers),
        case(name, "far logits", data("far logits"), LOGITS, **peers, rounding=FAR_LOGITS),
        case(name, "without class -1", data("edges", -1), {"ignore_class": -1}),
        ignoring(255),
        ignoring(2),
        case(
            name,
            "logits, axis 1",
            first,
            LOGITS | FIRST,
            keras=keras_by_last_axis,
            torch=sparse_in_torch,
        ),
    ]


def sparse_in_torch(f: Any, y: Any, z: Any) -> Any:
    """Return PyTorch's cross-entropy of logits with class indices."""
    return f.cross_entropy(z, y, reduction="none")


def sparse_in_optax(o: Any, y: Any, z: Any) -> Any:
    """Return Optax's cross-entropy of logits with class indices."""
    return o.softmax_cross_entropy_with_integer_labels(z, y)


def binary_focal_cases() -> list[FunctionCase]:
    """Make the cases of the focal loss of labels 0 and 1."""
    name = "binary_focal_crossentropy"
    balanced = {"apply_class_balancing": True, "alpha": 0.3}

    def optax(o: Any, y: Any, z: Any) -> Any:
        return o.sigmoid_focal_loss(z, y).mean(-1)

    def optax_balanced(o: Any, y: Any, z: Any) -> Any:
        return o.sigmoid_focal_loss(z, y, alpha=0.3, gamma=3.0).mean(-1)

    def data(outputs: str) -> Callable[[str], Arrays]:
        return of(classes, "binary", outputs)

    return [
        case(name, "", data("unnormalised")),
        case(name, "edges", data("edges")),
        case(name, "balanced, smoothing", data("edges"), balanced | SMOOTH),
        case(name, "gamma 0", data("unnormalised"), {"gamma": 0.0}),
        case(name, "gamma 0.5, axis 0", data("unnormalised"), {"gamma": 0.5, "axis": 0}),
        case(name, "logits", data("small logits"), LOGITS, optax=optax, rounding=CLIPPED),
        case(
            name,
            "logits, balanced, gamma 3",
            data("small logits"),
            LOGITS | balanced | {"gamma": 3.0},
            optax=optax_balanced,
            rounding=CLIPPED,
        ),
        case(name, "large logits", data("logits"), LOGITS, keras=False, optax=optax),
    ]


def categorical_focal_cases() -> list[FunctionCase]:
    """Make the cases of the focal loss of one-hot rows and distributions."""
    name = "categorical_focal_crossentropy"
    by_class = {"alpha": [0.1, 0.2, 0.3, 0.25, 1.0]}
    first = of(classes, "soft", "unnormalised", CHANNELS_FIRST, axis=1)
    rounding = Rounding(
        f"{KERAS_CLIPS}; in float32 its 1 - p and its gradient have lost digits", IN_FLOAT32
    )

    def data(outputs: str, labels: str) -> Callable[[str], Arrays]:
        return of(classes, labels, outputs)

    return [
        case(name, "", data("unnormalised", "one-hot")),
        case(name, "edges, smoothing", data("edges", "one-hot"), SMOOTH),
        case(name, "gamma 0", data("unnormalised", "soft"), {"gamma": 0.0}),
        case(
            name,
            "alpha by class, gamma 0.5",
            data("edges", "binary"),
            by_class | {"gamma": 0.5},
        ),
        case(name, "axis 1", first, FIRST),
        case(name, "logits", data("small logits", "soft"), LOGITS, rounding=rounding),
    ]


CASES: list[FunctionCase] = [
    *binary_cases(),
    *categorical_cases(),
    *sparse_categorical_cases(),
    *binary_focal_cases(),
    *categorical_focal_cases(),
]

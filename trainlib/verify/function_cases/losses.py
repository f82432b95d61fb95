"""Cases of losses other than cross-entropies, with their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from trainlib.verify.case import FunctionCase, Rounding
from trainlib.verify.function_cases.loss_data import (
    RANK_3,
    classes,
    embeddings,
    errors,
    numbers,
    of,
    regions,
    sequences,
    signs,
    with_zeros,
)
from trainlib.verify.function_cases.loss_peers import case, in_keras
from trainlib.verify.problem import Arrays

LOG_2_IN_FLOAT32 = Rounding(
    "Keras's log 2 has the precision of float32: its rounding error is removed"
)
SMALL_DIFFERENCES = "small parts of the gradient are differences of almost equal numbers"
CTC_LOGS = "logarithms of probabilities as small as exp(-30) are rounded by 2e-6 in float32"
CTC_IN_FLOAT32 = f"Keras runs this loss in float32; {CTC_LOGS}"
IN_FLOAT32 = {"float32": 1e-4}
ALWAYS_IN_FLOAT32 = IN_FLOAT32 | {"float64": 1e-4}
FIRST = {"axis": 1}


def log_cosh_rounding() -> float:
    """Return by how much Keras's log 2 is too large."""
    return float(np.float32(np.log(2.0))) - float(np.log(2.0))


def torch_ctc(f: Any, y: Any, z: Any) -> Any:
    """Return PyTorch's CTC loss, which takes log-probabilities and lengths."""
    log_p = z.log_softmax(-1).transpose(0, 1)
    steps, lengths = [z.shape[1]] * len(z), (y > 0).sum(-1).tolist()
    return f.ctc_loss(log_p, y, steps, lengths, reduction="none")


def optax_ctc(o: Any, y: Any, z: Any) -> Any:
    """Return Optax's CTC loss, which takes paddings: 1 after the end."""
    return o.ctc_loss(z, 0 * z[..., 0], y, (y == 0).astype(z.dtype))


def keras_tversky(alpha: float, beta: float, **options: Any) -> Callable[..., Arrays]:
    """Return Keras's Tversky loss, whose alpha weighs the false negatives up to version 3.15."""

    def peer(dtype: str, **inputs: np.ndarray) -> Arrays:
        import keras

        weights = (alpha, beta)
        if tuple(map(int, keras.__version__.split(".")[:2])) <= (3, 15):
            weights = (beta, alpha)
        run = in_keras("tversky", alpha=weights[0], beta=weights[1], **options)
        return run(dtype, **inputs)

    return peer


def jax_log(p: Any) -> Any:
    """Return the logarithm computed by JAX."""
    import jax

    return jax.numpy.log(p)


def huber_cases() -> list[FunctionCase]:
    """Make the cases of the Huber loss."""

    def peers(delta: float) -> dict[str, Any]:
        return {
            "torch": lambda f, y, p: f.huber_loss(p, y, delta=delta, reduction="none").mean(-1),
            "optax": lambda o, y, p: o.huber_loss(p, y, delta=delta).mean(-1),
        }

    def smooth_l1(f: Any, y: Any, p: Any) -> Any:
        return 0.3 * f.smooth_l1_loss(p, y, beta=0.3, reduction="none").mean(-1)

    short = {"delta": 0.3}
    return [
        case("huber", "", numbers, **peers(1.0)),
        case("huber", "delta 0.3", numbers, short, **peers(0.3)),
        case("huber", "at delta", of(errors, 0.75, 1e3), {"delta": 0.75}, **peers(0.75)),
        case("huber", "delta times smooth L1", of(numbers, RANK_3), short, torch=smooth_l1),
    ]


def regression_cases() -> list[FunctionCase]:
    """Make the cases of losses of real-valued targets."""

    def poisson(f: Any, y: Any, p: Any) -> Any:
        options = {"log_input": False, "full": False, "eps": 1e-7}
        return f.poisson_nll_loss(p, y, reduction="none", **options).mean(-1)

    def poisson_case(form: str, least: float) -> FunctionCase:
        return case("poisson", form, of(numbers, least=least), torch=poisson)

    log_cosh: dict[str, Any] = {
        "keras": in_keras("log_cosh", log_cosh_rounding()),
        "optax": lambda o, y, p: o.log_cosh(p, y).mean(-1),
        "rounding": LOG_2_IN_FLOAT32,
    }
    return [
        case(
            "mean_squared_error",
            "",
            numbers,
            torch=lambda f, y, p: f.mse_loss(p, y, reduction="none").mean(-1),
            optax=lambda o, y, p: o.squared_error(p, y).mean(-1),
        ),
        case(
            "mean_squared_error",
            "twice l2",
            of(numbers, RANK_3),
            optax=lambda o, y, p: 2 * o.l2_loss(p, y).mean(-1),
        ),
        case(
            "mean_absolute_error",
            "",
            of(numbers, RANK_3),
            torch=lambda f, y, p: f.l1_loss(p, y, reduction="none").mean(-1),
        ),
        case("mean_absolute_percentage_error", "", numbers),
        case("mean_absolute_percentage_error", "targets of 0", with_zeros),
        case("mean_squared_logarithmic_error", "", of(numbers, least=0.01)),
        case("mean_squared_logarithmic_error", "negative", of(numbers, RANK_3)),
        *huber_cases(),
        case("log_cosh", "", numbers, **log_cosh),
        case("log_cosh", "far", of(errors, 0.5, 20.0, 800.0), **log_cosh),
        poisson_case("", 0.01),
        poisson_case("means of 0", 0.0),
    ]


def similarity_cases() -> list[FunctionCase]:
    """Make the cases of losses of directions."""

    def cosine(axis: int) -> dict[str, Any]:
        return {
            "torch": lambda f, y, p: -f.cosine_similarity(y, p, dim=axis),
            "optax": lambda o, y, p: -o.cosine_similarity(p, y, axis=axis),
            "rounding": Rounding(SMALL_DIFFERENCES, IN_FLOAT32),
        }

    return [
        case("cosine_similarity", "", numbers, **cosine(-1)),
        case("cosine_similarity", "axis 1", of(numbers, RANK_3), FIRST, **cosine(1)),
        case("cosine_similarity", "vectors of 0", with_zeros),
        case("circle", "", embeddings),
        case("circle", "with itself", embeddings, {"remove_diagonal": False}),
        case("circle", "gamma, margin", embeddings, {"gamma": 8.0, "margin": 0.25}),
        case("circle", "references", of(embeddings, 6)),
    ]


def hinge_cases() -> list[FunctionCase]:
    """Make the cases of hinge losses."""

    def optax_hinge(o: Any, y: Any, p: Any) -> Any:
        return o.hinge_loss(p, y).mean(-1)

    def optax_squared(o: Any, y: Any, p: Any) -> Any:
        return (o.hinge_loss(p, y) ** 2).mean(-1)

    def optax_categorical(o: Any, y: Any, p: Any) -> Any:
        return o.multiclass_hinge_loss(p, y.argmax(-1))

    def torch_categorical(f: Any, y: Any, p: Any) -> Any:
        return 2 * f.multi_margin_loss(p, y.argmax(-1), reduction="none")

    one_hot = of(classes, "one-hot", "logits")
    two = of(classes, "one-hot", "probabilities", shape=(12, 2))
    return [
        case("hinge", "", signs, optax=optax_hinge),
        case("hinge", "labels 0 and 1", of(signs, 0.0, RANK_3)),
        case("hinge", "at the margin", of(signs, ties=True)),
        case("squared_hinge", "", signs, optax=optax_squared),
        case("squared_hinge", "labels 0 and 1", of(signs, 0.0, ties=True)),
        case("categorical_hinge", "", one_hot),
        case("categorical_hinge", "labels -1 and 1", of(signs, shape=RANK_3)),
        case(
            "categorical_hinge",
            "positive scores",
            of(classes, "one-hot", "unnormalised"),
            optax=optax_categorical,
        ),
        case("categorical_hinge", "two positive scores", two, torch=torch_categorical),
    ]


def other_cases() -> list[FunctionCase]:
    """Make the cases of the remaining losses."""
    robust = "categorical_generalized_cross_entropy"
    missed = {"alpha": 0.3, "beta": 0.7}
    by_image = {"axis": (1, 2, 3)}
    exchanged = {"alpha": 0.7, "beta": 0.3, "alpha_weighs": "false_negatives"}
    in_each = keras_tversky(**missed, axis=by_image["axis"])

    def indices(outputs: str) -> Callable[[str], Arrays]:
        return of(classes, "indices", outputs)

    return [
        case(
            "kl_divergence",
            "",
            classes,
            torch=lambda f, y, p: f.kl_div(p.log(), y, reduction="none").sum(-1),
            optax=lambda o, y, p: o.kl_divergence(jax_log(p), y),
        ),
        case("kl_divergence", "edges", of(classes, "one-hot", "edges", RANK_3)),
        case(robust, "", indices("probabilities"), {"q": 0.5}),
        case(robust, "q 0.7", indices("unnormalised"), {"q": 0.7}),
        case("dice", "", regions),
        case("dice", "each image", of(regions, empty=True), by_image),
        case("dice", "axis 1", regions, FIRST),
        case("tversky", "", regions),
        case("tversky", "alpha, beta", regions, missed, keras=keras_tversky(**missed)),
        case("tversky", "exchanged", regions, exchanged, keras=keras_tversky(**missed)),
        case("tversky", "each image", of(regions, empty=True), missed | by_image, keras=in_each),
        case(
            "ctc",
            "",
            sequences,
            keras=False,
            torch=torch_ctc,
            optax=optax_ctc,
            rounding=Rounding(CTC_LOGS, IN_FLOAT32),
        ),
        case("ctc", "in float32", sequences, rounding=Rounding(CTC_IN_FLOAT32, ALWAYS_IN_FLOAT32)),
    ]


CASES: list[FunctionCase] = [
    *regression_cases(),
    *similarity_cases(),
    *hinge_cases(),
    *other_cases(),
]

"""Temperature scaling: calibrates a classifier by one number, fitted on validation data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import trainlib.metrics as metrics
from trainlib.core.checks import check_choice
from trainlib.metrics.base import ACTIVATIONS
from trainlib.models.structure import last_layer
from trainlib.models.temperature import uncalibrated_logits, with_temperature
from trainlib.training.evaluator import Evaluator

STEPS = 200
"""Largest number of Newton steps; about ten are usual."""


class Calibration(NamedTuple):
    """A temperature, and its effect on some data.

    Attributes:
        temperature: T, by which logits are divided.
        nll_before: mean negative log-likelihood with T = 1.
        nll_after: mean negative log-likelihood with T.
        ece_before: expected calibration error with T = 1, with 15 bins.
        ece_after: expected calibration error with T, with 15 bins.

    Example:
        >>> fit = tl.fit_temperature([[4.0, 0.0], [4.0, 0.0], [0.0, 4.0]], [0, 1, 1])
        >>> print(f"{fit.nll_before:.3f} {fit.nll_after:.3f}")
        1.351 0.637
    """

    temperature: float
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float


def calibrate(
    model: Any, data: tuple[Any, Any], batch_size: int | None = None
) -> tuple[Any, Calibration]:
    """Fit the temperature of a classifier on validation data, and return the calibrated model.

    Args:
        model: a Keras model whose last layer is a separate softmax or sigmoid. An existing
            temperature is replaced.
        data: arrays (x, y) that the model was not trained on; y as for `fit_temperature`.
        batch_size: examples per batch, at least 1. Default: None, 512.

    Returns:
        The calibrated model, as for `tl.models.with_temperature`, and the `Calibration`.

    Raises:
        ValueError: the model does not end in a softmax or sigmoid; or as for `fit_temperature`.

    Example:
        >>> x = np.linspace(-3, 3, 60, dtype="float32")[:, None]
        >>> y = (np.sin(5 * x[:, 0]) + x[:, 0] > 0).astype("int64")
        >>> model = tl.models.mlp((1,), 2, "softmax", hidden=())
        >>> model.set_weights([np.array([[-9.0, 9.0]]), np.zeros(2)])
        >>> calibrated, fit = tl.calibrate(model, (x, y))
        >>> fit.temperature > 1, fit.nll_after < fit.nll_before
        (True, True)

    References:
        Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """
    x, y = data
    logits = Evaluator(uncalibrated_logits(model)).predict(x, batch_size)
    fit = fit_temperature(logits, y, activation=final_probabilities(model))
    return with_temperature(model, fit.temperature), fit


def fit_temperature(
    logits: Any, y_true: Any, sample_weight: Any = None, *, activation: str = "softmax"
) -> Calibration:
    """Return the temperature that minimizes the negative log-likelihood of softmax(z / T).

    The log-likelihood is a concave function of 1 / T. Newton's method, within a bracket, finds its
    maximum in float64.

    Args:
        logits: z, [N, K], finite.
        y_true: class indices [N], or one-hot rows [N, K].
        sample_weight: weights of the examples, [N]. Default: None, a weight of 1.
        activation: "softmax", or "sigmoid": the likelihood is that of each output. Default:
            "softmax".

    Returns:
        A `Calibration`.

    Raises:
        ValueError: the arrays do not match or are not finite; or the likelihood has no maximum,
            because the logits classify every example correctly, or no better than chance.

    Example:
        >>> fit = tl.fit_temperature([[4.0, 0.0], [4.0, 0.0], [0.0, 4.0]], [0, 1, 1])
        >>> print(f"{fit.temperature:.4f}")
        5.7708

    References:
        Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """
    check_choice("activation", activation, ACTIVATIONS)
    likelihood = _likelihood(logits, y_true, sample_weight, activation)
    return _effect(1 / _minimum(likelihood), likelihood)


def calibration_at(
    temperature: float,
    logits: Any,
    y_true: Any,
    sample_weight: Any = None,
    activation: str = "softmax",
) -> Calibration:
    """Return the effect of a temperature on some data; arguments as for `fit_temperature`."""
    return _effect(temperature, _likelihood(logits, y_true, sample_weight, activation))


def final_probabilities(model: Any) -> str:
    """Return the activation of a model's last layer, "softmax" or "sigmoid"."""
    activation = getattr(last_layer(model), "activation", None)
    return str(getattr(activation, "__name__", "softmax"))


class _Likelihood(NamedTuple):
    """The negative log-likelihood as a function of 1 / T.

    Attributes:
        z: logits [N, K].
        y: one-hot rows [N, K].
        w: weights [N], whose sum is 1.
        activation: "softmax" or "sigmoid".
    """

    z: np.ndarray
    y: np.ndarray
    w: np.ndarray
    activation: str

    def has_no_errors(self) -> bool:
        """Return whether all examples are classified correctly: the best 1 / T is infinite."""
        if self.activation == "sigmoid":
            margins = (2 * self.y - 1) * self.z
        else:
            margins = (self.y * self.z).sum(1, keepdims=True) - self.z
        return bool((margins[self.w > 0] >= 0).all())

    def at(self, beta: float) -> tuple[float, float, float]:
        """Return the value at 1 / T, its derivative and its second derivative."""
        z = self.z
        if self.activation == "sigmoid":
            p = 0.5 * (1 + np.tanh(0.5 * beta * z))
            value = np.logaddexp(0, beta * z) - beta * self.y * z
            parts = [value.sum(1), ((p - self.y) * z).sum(1), (p * (1 - p) * z**2).sum(1)]
        else:
            u = beta * z
            top = u.max(1, keepdims=True)
            e = np.exp(u - top)
            total = e.sum(1, keepdims=True)
            p, of_true = e / total, (self.y * z).sum(1)
            mean = (p * z).sum(1)
            value = np.log(total[:, 0]) + top[:, 0] - beta * of_true
            parts = [value, mean - of_true, (p * (z - mean[:, None]) ** 2).sum(1)]
        value, slope, curvature = (float(self.w @ part) for part in parts)
        return value, slope, curvature


def _effect(temperature: float, likelihood: _Likelihood) -> Calibration:
    """Return the effect of a temperature."""
    z, y, w, activation = likelihood
    if activation == "sigmoid":  # each output has a probability of its own
        w, (y, z) = np.repeat(w, z.shape[1]), (np.reshape(x, [-1, 1]) for x in (y, z))
    error = metrics.expected_calibration_error()
    values: list[float] = []
    for beta in (1.0, 1 / temperature):
        p = ACTIVATIONS[activation](beta * z)
        values += [likelihood.at(beta)[0], float(error.compute(error.from_model_output(y, p, w)))]
    nll, ece, nll_after, ece_after = values
    return Calibration(float(temperature), nll, nll_after, ece, ece_after)


def _minimum(likelihood: _Likelihood) -> float:
    """Return the 1 / T with the smallest negative log-likelihood.

    Raises:
        ValueError: there is no minimum above 0.
    """
    if likelihood.has_no_errors():
        raise ValueError(
            "no temperature is best for these logits, which classify every example correctly: "
            "give more validation data"
        )
    if likelihood.at(0.0)[1] >= 0:
        raise ValueError(
            "no temperature calibrates these logits, which are no better than chance: train the "
            "model longer"
        )
    low, high = 0.0, 1.0
    while likelihood.at(high)[1] < 0:
        low, high = high, 2 * high
    beta = 0.5 * (low + high)
    for _ in range(STEPS):
        _, slope, curvature = likelihood.at(beta)
        low, high = (beta, high) if slope < 0 else (low, beta)
        step = beta - slope / curvature if curvature > 0 else low
        new = step if low < step < high else 0.5 * (low + high)
        if abs(new - beta) <= 1e-12 * beta:
            return new
        beta = new
    return beta


def _likelihood(logits: Any, y_true: Any, sample_weight: Any, activation: str) -> _Likelihood:
    """Return the likelihood of logits, in float64.

    Raises:
        ValueError: the shapes do not match, or a value is not finite.
    """
    z, y = np.asarray(logits, np.float64), np.asarray(y_true)
    if z.ndim != 2 or not len(z) or y.shape not in (z.shape, z.shape[:1], (len(z), 1)):
        raise ValueError(
            f"logits must have shape [N, K], and y_true [N] or [N, K], got {list(z.shape)} and "
            f"{list(y.shape)}"
        )
    if not np.isfinite(z).all():
        raise ValueError("logits must be finite: the model has diverged, train it again")
    if y.shape != z.shape:
        index = y.reshape(-1).astype(np.int64)
        if z.shape[1] == 1:
            y = index[:, None]
        elif index.min() < 0 or index.max() >= z.shape[1]:
            raise ValueError(
                f"y_true must be classes from 0 to {z.shape[1] - 1}, got {index.min()} to "
                f"{index.max()}"
            )
        else:
            y = np.eye(z.shape[1])[index]
    w = np.ones(len(z)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    if w.shape != z.shape[:1] or not (w >= 0).all() or not w.sum() > 0:
        raise ValueError("sample_weight must be N numbers of at least 0, not all 0")
    return _Likelihood(z, y.astype(np.float64), w / w.sum(), activation)

"""`Ensemble`: several models as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import trainlib as tl
from trainlib.models import mlp

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4)).astype("float32")


def made(count: int = 3, activation: str | None = "softmax", outputs: int = 3) -> list[Any]:
    models = []
    for seed in range(count):
        keras.utils.set_random_seed(seed)
        models.append(mlp((4,), outputs, activation, hidden=(5,)))
    return models


THREE = made()
P = np.stack([np.asarray(m(X), np.float64) for m in THREE])
LABELS = P[1].argmax(-1)  # what the second predicts


def test_it_evaluates_and_predicts_the_average() -> None:
    ensemble = tl.Ensemble(THREE, weights=[2, 1, 1])
    f = np.tensordot([0.5, 0.25, 0.25], P, 1)
    np.testing.assert_allclose(ensemble.predict(X), f, rtol=1e-5)
    np.testing.assert_allclose(ensemble.predict_members(X), P, rtol=1e-5)
    found = ensemble.evaluate((X, LABELS), "sparse_categorical_crossentropy", ["accuracy"])
    assert found["loss"] == pytest.approx(-np.log(f[np.arange(40), LABELS]).mean(), rel=1e-5)
    assert found["accuracy"] == pytest.approx((f.argmax(-1) == LABELS).mean())


@pytest.mark.parametrize("method", ["simplex", "greedy"])
def test_weights_are_fitted_to_data(method: str) -> None:
    ensemble = tl.Ensemble(THREE).fit_weights((X, LABELS), method)
    assert ensemble.weights is not None
    assert np.argmax(ensemble.weights) == 1
    fitted, equal = (
        -np.log(np.tensordot(w, P, 1)[np.arange(40), LABELS]).mean()
        for w in (ensemble.weights, [1 / 3] * 3)
    )
    assert fitted < equal


def test_numbers_are_fitted_by_their_squared_error() -> None:
    models = made(2, None, 1)
    y = 0.75 * np.asarray(models[0](X)) + 0.25 * np.asarray(models[1](X))
    ensemble = tl.Ensemble(models).fit_weights((X, y))
    np.testing.assert_allclose(ensemble.weights, [0.75, 0.25], atol=1e-3)


def test_plain_keras_opens_what_is_saved(tmp_path: Path) -> None:
    ensemble = tl.Ensemble(THREE, average="logits")
    ensemble.save(tmp_path / "ensemble.keras")
    loaded = keras.saving.load_model(tmp_path / "ensemble.keras")
    np.testing.assert_allclose(loaded(X), ensemble.model(X), rtol=1e-6)


def test_refused_ensembles() -> None:
    with pytest.raises(ValueError, match="at least one member"):
        tl.Ensemble([])
    with pytest.raises(ValueError, match="method"):
        tl.Ensemble(THREE).fit_weights((X, LABELS), "stacking")

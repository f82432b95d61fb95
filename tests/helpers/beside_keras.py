"""Keras models trained by `Trainer` and by `model.fit`, side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import trainlib as tl
from trainlib.training.model_variables import SEED_STATE, model_variables

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3)).astype("float32")
Y = (X[:, :1] * 2).copy()
SEQUENCES = RNG.normal(size=(16, 5, 3)).astype("float32")
FIRST = SEQUENCES[:, 0, :1].copy()
TOKENS = np.where(np.arange(6) < RNG.integers(1, 7, (16, 1)), RNG.integers(1, 20, (16, 6)), 0)
LABELS = RNG.integers(0, 3, (16, 6))


def sequential(*layers: Any, shape: tuple[Any, ...] = (3,), rows: int | None = None) -> Any:
    """Return a sequential model; `rows` fixes its batch size."""
    return keras.Sequential([keras.Input(batch_shape=(rows, *shape)), *layers])


def pair(make: Callable[[], Any]) -> tuple[Any, Any]:
    """Return two models of the same initial values."""
    models = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        models.append(make())
    return models[0], models[1]


def assert_follows_keras(
    make: Callable[[], Any],
    data: tuple[Any, ...] = (X, Y),
    loss: Any = "mean_squared_error",
    keras_loss: Any = None,
    *,
    batch_size: int = 8,
    rate: float = 0.05,
    rtol: float = 2e-5,
    **options: Any,
) -> tl.Trainer:
    """Assert that two epochs with validation, evaluation and prediction are those of Keras.

    Returns:
        The trainer.
    """
    model, theirs = pair(make)
    x, y = data[:2]
    theirs.compile(keras.optimizers.SGD(rate), keras_loss or loss)
    weights = {"sample_weight": data[2]} if len(data) > 2 else {}
    given = {"batch_size": batch_size, "verbose": 0}
    fitted = theirs.fit(
        x,
        y,
        **weights,
        **given,
        epochs=2,
        shuffle=False,
        validation_data=data,
        validation_batch_size=batch_size,
    ).history
    trainer = tl.Trainer(model, loss, tl.sgd(rate), **({"execution": "graph"} | options))
    held_out = trainer.context.adapt("validation_data", data, batch_size)
    history = trainer.fit(
        data, batch_size=batch_size, epochs=2, shuffle=False, validation_data=held_out
    )
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(
            [results[name] for results in history], fitted[name], rtol=rtol, err_msg=name
        )
    expected = theirs.evaluate(x, y, **weights, **given)
    assert trainer.evaluate(data, batch_size=batch_size)["loss"] == pytest.approx(expected, rtol)
    close = {"rtol": rtol, "atol": rtol}
    predicted = trainer.predict(x, batch_size=batch_size)
    np.testing.assert_allclose(predicted, theirs.predict(x, **given), **close)
    ours, others = ({**trained, **kept} for trained, kept in map(model_variables, (model, theirs)))
    pairs = zip(ours.items(), others.values(), strict=True)
    for (path, x), y in (pair for pair in pairs if not pair[0][0].startswith(SEED_STATE)):
        np.testing.assert_allclose(x.numpy(), y.numpy(), **close, err_msg=path)
    return trainer

"""The ratio of the validation loss to the training loss."""

from __future__ import annotations

import numpy as np
import pytest

import trainlib as tl
from trainlib.callbacks import ValidationRatio

X, Y = np.ones([8, 1], "float32"), np.full([8, 1], 3.0, "float32")


def fit(callback, **options):
    model = tl.FunctionalModel(
        lambda params, state, x, training: tl.ModelOutput(x * params["w"], state),
        {"w": np.ones([1], "float32")},
    )
    trainer = tl.Trainer(model, "mse", tl.sgd(0.1), execution="graph")
    return trainer.fit((X, Y), epochs=2, callbacks=[callback], **options)


def test_a_line_after_each_epoch_has_the_ratio_of_its_results():
    lines = []
    history = fit(ValidationRatio(log=lines.append), validation_data=(X, 2 * Y))
    ratios = [epoch["val_loss"] / epoch["loss"] for epoch in history]
    assert lines == [
        f"epoch {i}/2  val_loss / loss {ratio:.4g}" for i, ratio in enumerate(ratios, start=1)
    ]


def test_without_validation_data_it_is_refused_before_the_first_epoch():
    with pytest.raises(ValueError, match=r"monitors 'val_loss'.*it needs validation_data"):
        fit(ValidationRatio())


def test_epochs_without_validation_have_no_line():
    lines = []
    fit(ValidationRatio(log=lines.append), validation_data=(X, Y), validation_freq=2)
    assert [line.split("  ")[0] for line in lines] == ["epoch 2/2"]


def test_monitor_is_a_name():
    with pytest.raises(TypeError, match="monitor must be the name of a result"):
        ValidationRatio(3)

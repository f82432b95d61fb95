"""Options of a trainer: their defaults, and what is refused."""

from __future__ import annotations

import pytest

import trainlib as tl
from trainlib.training.options import TrainerSettings


def test_a_run_ends_after_an_epoch_that_is_not_finite_by_default():
    assert TrainerSettings().nonfinite == "epoch"


@pytest.mark.parametrize("precision", [None, "float32", "mixed_bfloat16"])
def test_automatic_loss_scaling_is_for_mixed_float16_only(precision):
    assert TrainerSettings().loss_scale_for(precision) is None
    assert isinstance(TrainerSettings().loss_scale_for("mixed_float16"), tl.LossScale)
    assert TrainerSettings(loss_scale=None).loss_scale_for("mixed_float16") is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"nonfinite": "halt"}, ValueError, "unknown nonfinite 'halt'"),
        ({"seconds_per_call": -1.0}, ValueError, "seconds_per_call must be at least 0, got -1.0"),
        ({"loss_scale": "dynamic"}, TypeError, "loss_scale must be None or a LossScale"),
    ],
)
def test_wrong_options_are_refused(options, error, message):
    with pytest.raises(error, match=f"^{message}"):
        TrainerSettings(**options)

"""Options of a trainer: their defaults, and what is refused."""

from __future__ import annotations

import dataclasses

import pytest

import trainlib as tl
from trainlib.training.keyword_options import settings_from
from trainlib.training.options import TrainerOptions, TrainerSettings


def test_every_keyword_is_a_setting_with_a_default():
    names = [field.name for field in dataclasses.fields(TrainerSettings)]
    assert list(TrainerOptions.__annotations__) == names
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


def test_an_unknown_option_is_refused_by_name():
    with pytest.raises(TypeError, match="unknown option of Trainer 'nonfinit': did you mean 'nonf"):
        settings_from(TrainerSettings, "Trainer", {"nonfinit": "skip"})

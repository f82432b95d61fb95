"""Keyword options that a frozen dataclass states: their signatures, and unknown names."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

import trainlib as tl
from trainlib.training.fit_options import FitOptions, FitSettings
from trainlib.training.keyword_options import settings_from
from trainlib.training.options import TrainerOptions, TrainerSettings


@pytest.mark.parametrize(
    ("function", "options", "settings"),
    [
        (tl.Trainer, TrainerOptions, TrainerSettings),
        (tl.Trainer.fit, FitOptions, FitSettings),
        (tl.Trainer.fit_config, FitOptions, FitSettings),
    ],
)
def test_a_signature_shows_each_option_with_its_default(function, options, settings):
    fields = dataclasses.fields(settings)
    assert list(options.__annotations__) == [field.name for field in fields]
    shown = inspect.signature(function).parameters
    assert {field.name: field.default for field in fields}.items() <= {
        name: parameter.default for name, parameter in shown.items()
    }.items()
    assert "options" not in shown


def test_an_unknown_option_is_refused_by_name():
    with pytest.raises(TypeError, match="unknown option of Trainer 'nonfinit': did you mean 'nonf"):
        settings_from(TrainerSettings, "Trainer", {"nonfinit": "skip"})

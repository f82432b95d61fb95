"""Factories of steps check their arguments and write them as text."""

from __future__ import annotations

import inspect

import pytest

import trainlib as tl
from trainlib.augmentation import AUGMENTATIONS, Step

aug = tl.augmentation


def test_a_step_has_the_text_of_its_flag_and_its_name():
    step = aug.erasing(0.25, ratio=0.5)
    assert isinstance(step, Step)
    assert (step.text, step.name, step.kind) == ("erasing=0.25:0.02:0.4:0.5", "erasing", "pixels")


@pytest.mark.parametrize("factory", AUGMENTATIONS.values())
def test_a_factory_shows_its_parameters_and_returns_a_step(factory):
    signature = inspect.signature(factory)
    assert signature.return_annotation == "Step" and signature.parameters


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: aug.rotation(-0.1),
            ValueError,
            "factor of rotation must be above 0 and at most 1",
        ),
        (lambda: aug.rotation("a"), TypeError, "factor of rotation must be a number, got 'a'"),
        (lambda: aug.crop(1.5), TypeError, "padding of crop must be an integer, got 1.5"),
        (
            lambda: aug.crop(0),
            ValueError,
            "padding of crop must be at least 1 and at most 1000, got 0",
        ),
        (lambda: aug.flip("up"), ValueError, "unknown direction of flip 'up'"),
        (lambda: aug.zoom(1), ValueError, "factor of zoom must be at least 0 and below 1, got 1"),
        (lambda: aug.mixup(0), ValueError, "alpha of mixup must be above 0, got 0"),
    ],
)
def test_arguments_out_of_their_range_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()

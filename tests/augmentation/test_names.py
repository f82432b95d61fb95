"""Chains written as text."""

from __future__ import annotations

import pytest

import trainlib as tl
from trainlib.augmentation import AUGMENTATIONS, parse_chain


def test_a_text_is_the_chain_of_its_steps():
    found = parse_chain("flip=horizontal, rotation=0.1,crop=4,fill_mode=constant,fill_value=0.5")
    expected = tl.augmentation.chain(
        tl.augmentation.flip("horizontal"),
        tl.augmentation.rotation(0.1),
        tl.augmentation.crop(4),
        fill_mode="constant",
        fill_value=0.5,
    )
    assert found.name == expected.name
    assert parse_chain(found.name).name == found.name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("erasing=0.25:0.1", "erasing=0.25:0.1:0.4:0.3"),
        ("randaugment", "randaugment=2:9"),
        ("randaugment=3:12", "randaugment=3:12"),
        ("mixup", "mixup=0.2"),
    ],
)
def test_values_that_are_left_out_have_their_defaults(text, name):
    assert parse_chain(text).name == name


def test_the_names_are_those_of_the_factories():
    assert all(name == factory.__name__ for name, factory in AUGMENTATIONS.items())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rotaton=0.1", "unknown augmentation 'rotaton': did you mean 'rotation'"),
        ("rotation", "augment: write rotation=factor, got 0 values"),
        ("rotation=0.1:0.2", "augment: write rotation=factor, got 2 values"),
        ("rotation=a", "augment: factor of rotation must be a number, got 'a'"),
        ("rotation=2", "augment: factor of rotation must be above 0 and at most 1, got 2"),
        ("crop=1.5", "padding of crop must be an integer, got '1.5'"),
        ("flip=up", "unknown direction of flip 'up': choose from horizontal, vertical, both"),
        ("erasing=0.5:0.4:0.1", "smallest of erasing must be at most largest, got 0.4 and 0.1"),
        ("fill_mode=mirror,flip", "unknown fill_mode 'mirror': choose from reflect"),
        ("fill_value=x,flip", "fill_value of augment must be a number, got 'x'"),
        ("fill_mode=wrap", "augment must have a step"),
        ("", "unknown augmentation ''"),
    ],
)
def test_a_text_with_an_error_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_chain(text)

"""Conventions: presets, the defaults that they decide, and the signature that shows them."""

from __future__ import annotations

import inspect

import pytest

from trainlib.core.conventions import (
    BY_CONVENTION,
    conventions,
    conventions_of,
    default_of,
    defaults_of,
)

PRESETS = {"left": {"size": 1.0, "form": "a"}, "right": {"size": 2.0, "form": "b"}}


@conventions(**PRESETS)
def factory(rate, size=BY_CONVENTION, *, form=BY_CONVENTION, bias=3, convention="left"):
    """A factory."""
    return rate, size, form, bias, convention


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, (0, 1.0, "a", 3, "left")),
        ({"convention": "right"}, (0, 2.0, "b", 3, "right")),
        ({"convention": "right", "size": 5.0}, (0, 5.0, "b", 3, "right")),
        ({"form": "b"}, (0, 1.0, "b", 3, "left")),
    ],
)
def test_a_convention_sets_what_is_not_given(arguments, expected):
    assert factory(0, **arguments) == expected


def test_positional_arguments_are_kept():
    assert factory(0, 7.0, convention="right") == (0, 7.0, "b", 3, "right")


def test_an_unknown_convention_is_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match="unknown convention of factory 'rihgt'.*'right'"):
        factory(0, convention="rihgt")


@pytest.mark.parametrize("preset", [{"size": 1.0}, {"size": 1.0, "form": "a", "bias": 1}])
def test_a_preset_that_lacks_a_parameter_or_has_another_is_refused(preset):
    def other(size=BY_CONVENTION, form=BY_CONVENTION, bias=3, convention="only"):
        return size, form, bias, convention

    with pytest.raises(TypeError, match="other, convention only: expected values of"):
        conventions(only=preset)(other)


def test_the_signature_shows_the_defaults_of_the_default_convention():
    shown = str(inspect.signature(factory))
    assert shown == "(rate, size=1.0, *, form='a', bias=3, convention='left')"
    assert (factory.__name__, factory.__doc__) == ("factory", "A factory.")


def test_presets_and_defaults_can_be_read():
    assert conventions_of(factory) == PRESETS
    assert conventions_of(len) == {}
    assert defaults_of(factory, "size") == {"left": 1.0, "right": 2.0}
    assert defaults_of(factory, "bias") == {}
    assert default_of(factory, "size") == 1.0
    assert default_of(factory, "size", "right") == 2.0
    assert default_of(factory, "bias", "right") == 3
    assert default_of(factory, "rate") is inspect.Parameter.empty
    with pytest.raises(ValueError, match="unknown convention of factory 'rihgt'"):
        default_of(factory, "size", "rihgt")

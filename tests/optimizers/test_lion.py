"""Lion, where the comparison with peers does not cover it."""

from __future__ import annotations

import inspect

import pytest

import trainlib as tl


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta_1": 1.5}, "beta_1 must be at least 0 and at most 1"),
        ({"beta_2": 1.0}, "beta_2 must be at least 0 and below 1"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tl.lion(**options)


def test_defaults_equal_those_of_the_libraries():
    keras, optax = pytest.importorskip("keras"), pytest.importorskip("optax")
    ours, theirs = defaults(tl.lion), defaults(keras.optimizers.Lion)
    assert all(ours[name] == theirs[name] for name in ("learning_rate", "beta_1", "beta_2"))
    assert tl.lion.conventions["optax"]["weight_decay"] == defaults(optax.lion)["weight_decay"]


def defaults(factory):
    return {name: p.default for name, p in inspect.signature(factory).parameters.items()}

"""The epochs after which a training loop validates."""

from __future__ import annotations

import numpy as np
import pytest

from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.fit_config import FitConfig

DATA = ArrayAdapter("data", (np.zeros(4), np.zeros(4)), 2)


@pytest.mark.parametrize(
    ("validation", "freq", "expected"),
    [
        (DATA, 1, [1, 2, 3, 4, 5]),
        (DATA, 2, [2, 4]),
        (DATA, frozenset({1, 4}), [1, 4]),
        (None, 1, []),
    ],
)
def test_validations_follow_their_frequency(validation, freq, expected):
    config = FitConfig(DATA, validation, 5, True, (), 0.25, validation_freq=freq)
    assert [epoch for epoch in range(1, 6) if config.validates(epoch)] == expected

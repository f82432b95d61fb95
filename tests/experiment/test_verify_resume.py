"""Comparing the ends of an uninterrupted and a resumed run."""

from __future__ import annotations

import re

import numpy as np
import pytest

from trainlib.experiment.verify_resume import DifferentBitsError, compare
from trainlib.training.checkpoints import Checkpoint, TrainingPosition

PLACE = TrainingPosition(2, 5)


def checkpoint(place=PLACE, loss=1.0, seconds=0.1, **values):
    values = {"w": np.array([1.0, 2.0]), "v": np.zeros(3, np.int64)} | values
    history = [{"epoch": 1, "loss": loss, "seconds": seconds}]
    return Checkpoint(
        place, {f"state/{name}": x for name, x in values.items()}, {"history": history}
    )


def test_equal_bits_are_accepted_though_the_seconds_differ():
    compare(checkpoint(n=np.array(np.nan)), checkpoint(n=np.array(np.nan), seconds=9.0))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"w": np.array([1.0, 2.5])}, "state/w differs: 1 of 2 values, by 0.5 at most"),
        ({"w": np.array([1.0, 2.0]) * np.array([1, -1])}, "state/w differs: 1 of 2 values, by 4"),
        ({"v": np.array([0, 0, 7])}, "state/v differs: 1 of 3 values, by 7 at most"),
        ({"u": np.zeros(1)}, "state/u is in one of the two checkpoints only"),
        (
            {"place": TrainingPosition(2, 6)},
            "the uninterrupted run ended at epoch_0002_batch_000005, the resumed one",
        ),
        ({"loss": 2.0}, "the history differs: "),
    ],
)
def test_the_first_difference_is_named(other, message):
    with pytest.raises(DifferentBitsError, match=f"^{re.escape(message)}"):
        compare(checkpoint(), checkpoint(**other))

"""The epochs of the snapshots of an ensemble."""

from __future__ import annotations

import pytest
from helpers.experiments import experiment

from trainlib.experiment.ensemble_snapshots import cycle_ends


@pytest.mark.parametrize(
    "flags, ends",
    [
        (["--epochs=6"], [2, 4, 6]),
        (["--epochs=7", "--schedule=cosine_decay_restarts", "--first_decay_steps=10"], [1, 3, 7]),
        (
            ["--epochs=9", "--schedule=cosine_decay_restarts", "--first_decay_steps=20",
             "--t_mul=1"],
            [4, 6, 8],
        ),
    ],
)  # fmt: skip
def test_snapshots_are_taken_at_the_ends_of_the_last_cycles(
    flags: list[str], ends: list[int]
) -> None:
    config = experiment("--ensemble=3", "--ensemble_by=snapshot", *flags)
    assert cycle_ends(config, updates=10) == ends


def test_cycles_that_end_within_an_epoch_are_refused() -> None:
    config = experiment(
        "--ensemble=2", "--ensemble_by=snapshot", "--schedule=cosine_decay_restarts",
        "--first_decay_steps=15",
    )  # fmt: skip
    with pytest.raises(ValueError, match="as many ends of whole epochs"):
        cycle_ends(config, updates=10)

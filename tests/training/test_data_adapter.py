"""Arguments that do not apply to a kind of data."""

from __future__ import annotations

import pytest
from helpers.regression import DATA, batches_of, trainer_of


@pytest.mark.parametrize("steps", [0, 2.5])
def test_arguments_that_do_not_apply_to_the_data_are_refused(steps):
    with pytest.raises(ValueError, match="^data are batches already: leave out batch_size=4"):
        trainer_of().fit(batches_of(), batch_size=4)
    with pytest.raises(ValueError, match="^steps_per_epoch is for sources of batches"):
        trainer_of().fit(DATA, steps_per_epoch=3)
    with pytest.raises((ValueError, TypeError), match="^steps_per_epoch must be"):
        trainer_of().fit(batches_of(), steps_per_epoch=steps)

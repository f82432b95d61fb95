"""`LossByOutput`: its names and weights, and what it refuses."""

from __future__ import annotations

import pytest

import trainlib as tl
from trainlib.losses import LossByOutput, mean_squared_error

LOSSES = {"main": mean_squared_error, "aux": mean_squared_error, "free": None}


def test_outputs_without_a_loss_have_no_result():
    loss = LossByOutput(LOSSES, {"main": 0.9})
    assert list(loss.trained) == ["main", "aux"]
    assert loss.result_names == {"main": "main_loss", "aux": "aux_loss"}
    assert (loss.weight("main"), loss.weight("aux")) == (0.9, 1.0)


def test_the_loss_of_one_output_is_reported_once():
    assert LossByOutput({"main": mean_squared_error, "aux": None}).result_names == {}


@pytest.mark.parametrize(
    ("losses", "weights", "error", "message"),
    [
        ({"main": None}, {}, ValueError, "^loss must have a loss for at least one output"),
        (LOSSES, {"free": 1.0}, ValueError, "has a weight for 'free', which has no loss"),
        (LOSSES, {"other": 1.0}, ValueError, "has a weight for 'other', which has no loss"),
        (LOSSES, {"main": "1"}, TypeError, "^the weight of 'main' in loss_weights must be a num"),
        (LOSSES, {"main": float("nan")}, ValueError, "^the weight of 'main' .* must be finite"),
    ],
)
def test_what_has_no_meaning_is_refused(losses, weights, error, message):
    with pytest.raises(error, match=message):
        LossByOutput(losses, weights)


def test_a_step_takes_it_in_the_place_of_a_loss():
    config = tl.StepConfig(lambda *_: None, LossByOutput(LOSSES))
    assert isinstance(config.loss_fn, LossByOutput)

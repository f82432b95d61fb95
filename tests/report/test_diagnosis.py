"""What a page says of the losses of a run."""

from __future__ import annotations

import math

import pytest

from trainlib.report.diagnosis import diagnose


def history(trained, validated=None):
    """A history with these losses by epoch."""
    rows = [{"epoch": k, "loss": x} for k, x in enumerate(trained, 1)]
    for row, x in zip(rows, validated or (), strict=False):
        row["val_loss"] = x
    return rows


@pytest.mark.parametrize(
    ("trained", "validated", "text"),
    [
        ([3, 2, 1, 0.5], [3, 2, 2.5, 3], "After epoch 2 the validation loss rose by 50 %"),
        ([3, 1, 2, 3], [3, 2, 2.5, 3], "After epoch 2 training and validation loss rose"),
        ([4, 3, 2, 1], [4, 3, 2, 1], "The validation loss was still falling"),
        ([4, 1, 1, 1, 1], [4, 2, 2, 2, 2.01], "hardly fallen in the last 1 of 5 epochs"),
        ([4, math.nan, 1], [4, 3, 2], "The loss was not finite in epoch 2."),
        ([4, 3, 2, 1], [4, None, 2, 1], "The validation loss was not finite in epoch 2."),
        ([3, 2, 1], [None, None, None], "The validation loss was not finite in epoch 1."),
        ([2, 1], [2, 1], "too few epochs"),
        ([3, 2, 1], None, "There are no validation data"),
    ],
)
def test_the_course_of_the_losses_is_described(trained, validated, text):
    (sentence,) = diagnose(history(trained, validated))
    assert text in sentence


RUN = history([4, 1, 1, 1, 1], [4, 2, 2, 2, 2])


def test_a_gap_between_the_losses_of_the_saved_model_is_called_overfitting():
    _, sentence = diagnose(RUN, {}, {"train": {"loss": 1.0}, "validation": {"loss": 2.0}})
    assert "is 2 times that on training data" in sentence
    for way in ("--early_stop", "--regularizer=l2", "--dropout"):
        assert way in sentence


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_loss_of_the_saved_model_that_was_not_finite_is_not_called_overfitting(part):
    summary = {"train": {"loss": 1.0}, "validation": {"loss": 2.0}, part: {"loss": None}}
    assert len(diagnose(RUN, {}, summary)) == 1


def test_what_the_run_did_already_is_not_recommended():
    settings = {"regularizer": "l2", "dropout": "0.2", "early_stop_restore_best_weights": "True"}
    _, sentence = diagnose(RUN, settings, {"train": {"loss": 1.0}, "validation": {"loss": 2.0}})
    assert "train on more data." in sentence and "--" not in sentence


def test_losses_that_are_near_each_other_are_not_called_overfitting():
    assert len(diagnose(RUN, {}, {"train": {"loss": 1.0}, "validation": {"loss": 1.2}})) == 1

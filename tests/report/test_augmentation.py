"""The sheet of training examples before and after augmentation."""

from __future__ import annotations

import numpy as np
import pytest

from trainlib.report.augmentation import AugmentedExamples, augmentation_sheet

pytest.importorskip("matplotlib")


def test_the_sheet_has_a_row_of_originals_and_one_for_each_epoch():
    images = np.zeros((2, 4, 4), "uint8")
    examples = AugmentedExamples("flip=both", images, np.stack([images] * 3), np.array([5, 9]))
    sheet = augmentation_sheet(examples, 255.0)
    assert sheet.count("<img") == 8 and "flip=both" in sheet
    for text, times in {">example 9<": 1, ">original<": 1, ">epoch 1<": 1, ">epoch 3<": 1}.items():
        assert sheet.count(text) == times


def test_examples_that_are_no_images_have_no_sheet():
    rows = np.zeros((2, 4))
    assert augmentation_sheet(AugmentedExamples("noise", rows, rows[None], np.arange(2)), 0) == ""

"""The exit status of each kind of error, and its message on one line."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from trainlib.cli.errors import (
    CommandError,
    InterruptedRunError,
    WorkerLostError,
    one_line,
    status_of,
)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError(), 2),
        (TypeError(), 2),
        (FileNotFoundError(), 2),
        (flags.Error(), 2),
        (WorkerLostError(), 3),
        (InterruptedRunError("stopped", 75), 75),
        (InterruptedRunError("stopped", 143), 143),
        (MemoryError(), 2),
        (KeyboardInterrupt(), 130),
        (CommandError(), 1),
        (KeyError(), 1),
    ],
)
def test_each_kind_of_error_has_its_status(error, status):
    assert status_of(error) == status


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a\n  b"), "a b"),
        (ValueError(), "ValueError"),
        (OSError(2, "No such file", "a.npz"), "a.npz: No such file"),
        (flags.Error("ERROR:: bad flag"), "bad flag"),
        (ValueError(f"begin {'x' * 3000} cause"), f"begin {'x' * 994} ... {'x' * 994} cause"),
    ],
)
def test_a_message_is_one_line(error, line):
    assert one_line(error) == line


def test_an_array_that_is_too_large_is_named_by_its_shape():
    expected = (
        "not enough memory for {} of shape [{}]: make the model, the batch or the data smaller"
    )
    with pytest.raises(MemoryError) as of_numpy:
        np.empty([10**6, 10**9])
    assert one_line(of_numpy.value) == expected.format("float64", "1000000, 1000000000")
    message = "OOM when allocating tensor with shape[1000000,1000000000] and type float on CPU:0"
    of_tensorflow = tf.errors.ResourceExhaustedError(None, None, message)
    assert one_line(of_tensorflow) == expected.format("float", "1000000,1000000000")
    assert status_of(of_tensorflow) == 2

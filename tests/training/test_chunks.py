"""Chunks: dtypes, and prefetching."""

from __future__ import annotations

import threading

import numpy as np
import tensorflow as tf
from helpers.regression import Y

from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.chunks import prefetch, specs_of
from trainlib.training.stream_adapter import StreamAdapter


def test_dtypes_are_kept():
    greys = np.zeros((8, 2), "uint8")
    assert ArrayAdapter("data", (greys, Y[:8]), 2).specs[0].dtype == tf.uint8
    chunk = next(StreamAdapter("data", [(greys, Y[:8])]).training())
    assert chunk.examples[0].dtype == tf.uint8
    assert specs_of(chunk.examples) == specs_of((greys, Y[:8]))


def test_the_next_chunk_is_made_while_one_is_in_use():
    begun = threading.Event()

    def chunks():
        yield "first"
        begun.set()
        yield "second"

    coming = prefetch(chunks())
    assert next(coming) == "first"
    assert begun.wait(5)
    assert list(coming) == ["second"]

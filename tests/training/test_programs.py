"""Compiled programs: few traces, whole compilation, constant memory."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from helpers.classification import (
    BATCH,
    WEIGHT,
    X,
    Y,
    trainer_of,
)

import trainlib as tl
from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.chunks import specs_of

SOAK = pytest.mark.soak


@pytest.mark.parametrize("execution", ["graph", pytest.param("xla", marks=SOAK)])
def test_each_shape_is_traced_once(execution):
    trainer = trainer_of(execution=execution)

    def traces(run):
        before = trainer.traces
        run()
        return trainer.traces - before

    assert traces(lambda: trainer.fit((X[:18], Y[:18]), batch_size=BATCH, epochs=3)) == 2
    assert traces(lambda: trainer.fit((X, Y), batch_size=BATCH, epochs=2)) == 0
    assert traces(lambda: trainer.evaluate((X, Y))) == 1
    assert traces(lambda: trainer.evaluate((X[:9], Y[:9]))) == 1  # a batch of 9
    assert traces(lambda: trainer.evaluate((X[:9], Y[:9]))) == 0
    assert traces(lambda: trainer.fit((X, Y), batch_size=BATCH, validation_data=(X, Y))) == 0
    assert traces(lambda: trainer.predict(X, batch_size=9)) == 1
    assert traces(lambda: trainer.predict(X, batch_size=9)) == 0
    assert traces(lambda: trainer.evaluate((X, Y, WEIGHT))) == 1


def test_xla_compiles_the_whole_step_and_graph_does_not():
    def in_python(y_true, y_pred):
        values = tf.numpy_function(lambda y: np.float32(y > 1), [y_true], tf.float32)
        return tf.ensure_shape(values, y_true.shape)

    results = trainer_of(metrics=[in_python], execution="graph").evaluate((X, Y))
    assert results["in_python"] == pytest.approx(np.mean(Y > 1))
    with pytest.raises(tf.errors.InvalidArgumentError, match="unsupported operations"):
        trainer_of(metrics=[in_python], execution="xla").evaluate((X, Y))


@SOAK
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("execution", ["graph", "xla"])
def test_memory_does_not_grow_with_calls(execution):
    def pages():
        return int(Path("/proc/self/statm").read_text().split()[1])

    trainer = trainer_of(execution=execution)
    (chunk,) = ArrayAdapter("data", (X, Y), BATCH).training()
    specs = specs_of(chunk.examples)
    run = trainer.context.programs.train(execution, chunk.rows, specs)
    states = trainer.context.programs.empty_metric_states(execution, specs)

    def call(count):
        for _ in range(count):
            run(
                chunk.examples,
                tf.constant(0, tf.int64),
                tf.constant(5, tf.int64),
                tf.constant(False),
                states,
            )

    call(500)
    before = pages()
    call(10_000)
    assert pages() - before < 2000  # 8 MB; a kilobyte a call would be 10


def test_models_one_after_another_are_not_taken_for_retraces_of_one(monkeypatch):
    warned = []
    monkeypatch.setattr(tf.get_logger(), "warning", lambda *message: warned.append(message))
    model = tl.FunctionalModel(
        lambda params, state, x, training: tl.ModelOutput(x @ params["w"], state),
        {"w": tf.zeros([4, 1])},
    )
    for _ in range(6):
        trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(), execution="graph")
        trainer.fit((X[:5], X[:5, :1]))
        trainer.predict(X[:5])
    assert warned == []

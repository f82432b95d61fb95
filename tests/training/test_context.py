"""`TrainingContext`: the state and the weights of a trainer, and the data it takes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from helpers.classification import WEIGHT, X, Y, trainer_of
from helpers.trees import assert_same_bits, bits

import trainlib as tl
from trainlib.training import context as module
from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.autotune import Choice
from trainlib.training.stream_adapter import StreamAdapter


@pytest.fixture
def context():
    return trainer_of(optimizer=tl.inject_hyperparams(tl.sgd)(0.5, momentum=0.25), seed=7).context


def test_a_state_that_is_assigned_is_read_back(context):
    changed = tf.nest.map_structure(lambda x: x + tf.cast(1, x.dtype), context.state)
    context.state = changed
    assert_same_bits(context.state, changed)
    assert context.seed == 8


def test_weights_are_the_models_part_of_the_state(context):
    params, model_state = context.weights
    assert_same_bits((params, model_state), (context.state.params, context.state.model_state))
    before = context.state.opt_state
    context.weights = tf.nest.map_structure(tf.zeros_like, (params, model_state))
    assert all(not np.any(x) for x in tf.nest.flatten(context.weights))
    assert_same_bits(context.state.opt_state, before)


@pytest.mark.parametrize("attribute", ["state", "weights"])
def test_values_of_other_shapes_are_refused_and_change_nothing(context, attribute):
    before = bits(context.state)
    values = tf.nest.map_structure(lambda x: x[..., None], getattr(context, attribute))
    with pytest.raises(ValueError, match=f"^{attribute} must have the trainer's shapes: got "):
        setattr(context, attribute, values)
    assert bits(context.state) == before


def test_only_the_hyperparameters_that_are_named_change(context):
    context.set_hyperparams(momentum=0.75)
    found = context.state.opt_state.hyperparams
    assert {name: float(x) for name, x in found.items()} == {"learning_rate": 0.5, "momentum": 0.75}


def test_arrays_and_batches_become_adapters(context):
    assert isinstance(context.adapt("data", (X, Y, WEIGHT), 5), ArrayAdapter)
    assert isinstance(context.adapt("data", [(X, Y)]), StreamAdapter)


def test_several_workers_take_arrays_only(context, monkeypatch):
    monkeypatch.setattr(module, "is_multi_worker", lambda strategy: True)
    assert isinstance(context.adapt("data", (X, Y), 5), ArrayAdapter)
    message = "^validation_data must be arrays on several workers, got a source of batches"
    with pytest.raises(ValueError, match=message):
        context.adapt("validation_data", [(X, Y)])


class FakeTuner:
    """Chooses "xla", after changing the state as a measurement does."""

    min_steps = 100

    def __init__(self, context):
        self.context, self.calls = context, 0

    def choose(self, execution, work, measures):
        self.calls += 1
        self.context.weights = tf.nest.map_structure(tf.zeros_like, self.context.weights)
        return Choice("xla", {"graph": 1.0, "xla": 2.0})


def test_tuning_chooses_once_and_loses_neither_a_chunk_nor_the_state(context):
    chunks = list(ArrayAdapter("data", (X, Y), 5).training())
    tuner, before = FakeTuner(context), bits(context.state)
    settled = context.tune(tuner, iter(chunks), 100)
    assert list(map(id, settled)) == list(map(id, chunks))
    assert (tuner.calls, context.execution) == (0, "graph")  # which the user chose
    context.untuned = True
    measured = context.tune(tuner, iter(chunks), 100)
    assert list(map(id, measured)) == list(map(id, chunks))
    assert (tuner.calls, context.execution, context.choice.speeds["xla"]) == (1, "xla", 2.0)
    assert bits(context.state) == before
    next(context.tune(tuner, itertools.cycle(chunks), 100))
    assert tuner.calls == 1


def test_a_trainer_compiles_once_its_steps_are_worth_it():
    context = trainer_of(execution="auto").context
    chunks = list(ArrayAdapter("data", (X, Y), 5).training())
    tuner = FakeTuner(context)
    for made, execution in ((0, "graph"), (59, "graph"), (60, "xla")):
        context.state = context.state._replace(step=tf.constant(made, tf.int64))
        next(context.tune(tuner, iter(chunks), 40))
        assert context.execution == execution
    assert tuner.calls == 1

"""`Trainer`: the numbers of a plain loop and of Keras; its state and weights; clear errors."""

from __future__ import annotations

import functools
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.classification import (
    BATCH,
    ROUNDING,
    SIZE,
    WEIGHT,
    X,
    Y,
    crossentropy,
    log_softmax,
    net,
    trainer_of,
)
from helpers.executions import soak_except
from helpers.trainers import TrainerPool
from helpers.trees import assert_close, bits

import trainlib as tl
from trainlib.callbacks import ReduceLROnPlateau
from trainlib.training.functional_model import FunctionalModel, functional_from_keras
from trainlib.training.order import epoch_order

SOAK = pytest.mark.soak


@pytest.mark.parametrize(
    ("execution", "dropout", "dtype"),
    [
        ("graph", 0.25, "float32"),
        pytest.param("xla", 0.0, "float64", marks=SOAK),
        pytest.param("graph", 0.25, "float64", marks=SOAK),
        pytest.param("xla", 0.0, "float32", marks=SOAK),
    ],
)
def test_training_equals_a_plain_loop_over_train_step(execution, dropout, dtype):
    model, optimizer = net(dropout=dropout, dtype=dtype), tl.nadam(2**-5)
    size = SIZE - 2  # the last of the four batches of an epoch is smaller
    data = X[:size].astype(dtype), Y[:size], WEIGHT[:size].astype(dtype)
    apply_fn, params, model_state = functional_from_keras(model, seed=3)
    state = tl.init_state(params, model_state, optimizer, seed=3)
    step = tl.train_step(
        tl.StepConfig(apply_fn, crossentropy, optimizer, metrics={"accuracy": tl.metrics.accuracy})
    )
    trainer = trainer_of(model, optimizer, seed=3, execution=execution)
    history = trainer.fit(data, batch_size=BATCH, epochs=3)
    for epoch, results in enumerate(history):
        order = epoch_order(3, epoch, size)
        total = {"loss": tl.Mean.empty(), "accuracy": tl.Mean.empty()}
        for start in range(0, size, BATCH):
            rows = order[start : start + BATCH]
            state, states = step(state, tuple(tf.constant(a[rows]) for a in data))
            total = {name: mean.merge(states[name]) for name, mean in total.items()}
        for name, mean in total.items():
            assert results[name] == pytest.approx(float(mean.compute()), rel=ROUNDING[dtype])
        assert (results["epoch"], results["step"]) == (epoch + 1, 4 * (epoch + 1))
    assert_close(trainer.state, state, ROUNDING[dtype])


def test_training_equals_keras_fit_in_the_same_order():
    model, theirs = net(), net()
    history = trainer_of(model, tl.sgd(0.125, momentum=0.75)).fit(
        (X, Y), batch_size=BATCH, epochs=4
    )
    theirs.compile(
        keras.optimizers.SGD(0.125, momentum=0.75),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    for epoch, results in enumerate(history):
        order = epoch_order(0, epoch, SIZE)
        fitted = theirs.fit(X[order], Y[order], batch_size=BATCH, shuffle=False, verbose=0)
        for name, (value,) in fitted.history.items():
            assert results[name] == pytest.approx(value, rel=1e-6)
    assert_close(model.get_weights(), theirs.get_weights(), 3e-6)


def test_training_on_the_whole_batch_equals_keras_fit():
    model, theirs = net(), net()
    trainer_of(model, tl.sgd(0.125, momentum=0.75)).fit((X, Y), batch_size=SIZE, epochs=20)
    theirs.compile(
        keras.optimizers.SGD(0.125, momentum=0.75),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    theirs.fit(X, Y, batch_size=SIZE, epochs=20, shuffle=False, verbose=0)
    assert_close(model.get_weights(), theirs.get_weights(), 3e-6)


@functools.cache
def run_of_seed(seed):
    """Return the state and the parameters of a run of a seed, as bits."""
    trainer = trainer_of(net(dropout=0.25), seed=seed)
    trainer.fit((X, Y), batch_size=BATCH, epochs=4)
    return bits(trainer.state), bits(trainer.state.params)


def test_another_seed_gives_other_bits():
    """That the same seed gives the same bits is seen in the training in parts."""
    pairs = zip(run_of_seed(3)[1], run_of_seed(4)[1], strict=True)
    assert all(a != b for a, b in pairs)


def test_graph_and_xla_agree():
    ends = []
    for execution in ("graph", "xla"):
        trainer = trainer_of(net(dtype="float64"), execution=execution)
        trainer.fit((X.astype("float64"), Y), batch_size=BATCH, epochs=3)
        ends.append((trainer.state, list(trainer.evaluate((X.astype("float64"), Y)).values())))
    assert_close(ends[0], ends[1], ROUNDING["float64"])


def test_the_model_has_the_trained_values_after_fit():
    model = net(dropout=0.25)
    trainer = trainer_of(model)
    before = model.get_weights()
    history = trainer.fit((X, Y), batch_size=BATCH, epochs=2, validation_data=(X, Y, WEIGHT))
    state = trainer.state
    for variable in (*model.trainable_variables, *model.non_trainable_variables):
        name = variable.path.removeprefix(f"{model.name}/")
        if "seed_generator" in name:
            name = "seed_generator_state_0"
        np.testing.assert_array_equal(variable, (state.params | state.model_state)[name])
    assert all(np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True))
    logits = model.predict(X, verbose=0)
    losses = -log_softmax(logits)[np.arange(SIZE), Y]
    expected = np.average(losses, weights=WEIGHT)
    assert history[-1]["val_loss"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "parts", [(1, 3), pytest.param((2, 2), marks=SOAK), pytest.param((1, 1, 1, 1), marks=SOAK)]
)
def test_training_in_parts_ends_in_the_same_bits(parts):
    trainer = trainer_of(net(dropout=0.25), seed=3)
    trainer.fit((X, Y), batch_size=BATCH, epochs=parts[0])
    for seed, epochs in enumerate(parts[1:], start=4):
        state = trainer.state
        trainer = trainer_of(net(dropout=0.25, seed=seed), seed=seed)
        trainer.state = state
        trainer.fit((X, Y), batch_size=BATCH, epochs=epochs)
    assert bits(trainer.state) == run_of_seed(3)[0]


POOL = TrainerPool(trainer_of)


@pytest.fixture
def make():
    """`make(optimizer=...)`: a trainer in its first state, not always a new one."""
    with POOL.lending() as lend:
        yield lend


def test_the_state_is_a_copy(make):
    trainer = make()
    state = trainer.state
    before = bits(state)
    trainer.fit((X, Y), batch_size=BATCH)
    assert isinstance(state, tl.TrainState)
    assert bits(state) == before != bits(trainer.state)


@pytest.mark.parametrize("execution", soak_except("graph", names=["auto", "graph", "xla"]))
def test_any_function_of_parameters_trains(execution):
    x = X.astype("float64")
    y = x @ np.arange(4.0)[:, None] - 1

    def apply_fn(params, model_state, x, training):
        return tl.ModelOutput(x @ params["w"] + params["b"], model_state)

    zeros = {"w": tf.zeros([4, 1], tf.float64), "b": tf.zeros([1], tf.float64)}
    trainer = tl.Trainer(
        FunctionalModel(apply_fn, zeros), "mean_squared_error", tl.sgd(0.125), execution=execution
    )
    trainer.fit((x, y), batch_size=SIZE, epochs=400)
    np.testing.assert_allclose(trainer.state.params["w"][:, 0], np.arange(4), atol=1e-9)
    np.testing.assert_allclose(trainer.state.params["b"], [-1], rtol=1e-9)
    assert trainer.evaluate((x, y))["loss"] < 1e-18


def test_x_may_be_a_structure():
    inputs = {name: keras.Input((2,), name=name) for name in ("a", "b")}
    joined = keras.layers.Concatenate()([inputs["a"], inputs["b"]])
    model = keras.Model(inputs, keras.layers.Dense(3, name="outputs")(joined))
    single = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="outputs")])
    single.set_weights(model.get_weights())
    parts = {"a": X[:, :2], "b": X[:, 2:]}
    trainers = [trainer_of(model), trainer_of(single)]
    for trainer, x in zip(trainers, (parts, X), strict=True):
        trainer.fit((x, Y), batch_size=BATCH, epochs=2)
    assert_close(trainers[0].state, trainers[1].state, 1e-6)
    np.testing.assert_allclose(
        trainers[0].predict(parts, batch_size=9), trainers[1].predict(X), rtol=0, atol=1e-6
    )
    assert trainers[0].evaluate((parts, Y)) == pytest.approx(trainers[1].evaluate((X, Y)), rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": keras.Sequential()}, ValueError, "the model has no variables yet"),
        (
            {"model": "mlp"},
            TypeError,
            "model must be a Keras model or a FunctionalModel, got 'mlp'",
        ),
        ({"loss": "hubr"}, ValueError, "unknown loss 'hubr': did you mean 'huber'"),
        ({"loss": None}, TypeError, "loss must be a name or a function"),
        ({"optimizer": tl.adam}, TypeError, "optimizer must be an Optimizer such as tl.adam"),
        ({"optimizer": "adam"}, TypeError, "optimizer must be an Optimizer .* got 'adam'"),
        ({"optimizer": keras.optimizers.SGD()}, TypeError, "optimizer must be an Optimizer"),
        ({"metrics": ["acuracy"]}, ValueError, "unknown metric 'acuracy': did you mean 'accuracy'"),
        ({"metrics": "accuracy"}, TypeError, r"metrics must be a list.* write \['accuracy'\]"),
        ({"metrics": [3]}, TypeError, "metric must be a name or a function .* got 3"),
        ({"metrics": ["accuracy"] * 2}, ValueError, "two results are named 'accuracy'"),
        ({"metrics": {"loss": "accuracy"}}, ValueError, "two results are named 'loss'"),
        ({"metrics": {"step": "accuracy"}}, ValueError, "two results are named 'step'"),
        ({"metrics": {"mine": "acuracy"}}, ValueError, "unknown metric 'acuracy': did you mean"),
        ({"metrics": {"mine": 3}}, TypeError, "metric must be a name or a function .* got 3"),
        ({"metrics": [tl.metrics.auc()]}, TypeError, "a Metric needs a name: write metrics={"),
        ({"metrics": tl.metrics.auc()}, TypeError, "a Metric needs a name: write metrics={"),
        ({"regularizer": "l2"}, TypeError, "regularizer must be a function .* got 'l2'"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"seed": 2**63}, ValueError, "seed must be .* at most 9223372036854775807"),
        ({"seed": 0.5}, TypeError, "seed must be an integer, got 0.5"),
        ({"execution": "xl"}, ValueError, "unknown execution 'xl': did you mean 'xla'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, message):
    good = {"model": None, "loss": crossentropy, "optimizer": tl.sgd()}
    given = good | arguments
    given["model"] = given["model"] or net()
    with pytest.raises(error, match=f"^{message}"):
        tl.Trainer(**given)


def test_a_model_that_is_not_built_is_refused():
    model = keras.Sequential([keras.layers.Dense(2)])
    with pytest.raises(ValueError, match=r"^the model has no variables yet: start it with"):
        trainer_of(model)


ONE_LENGTH = "must be arrays of the same length, at least 1, got lengths"


PAIRS = r"must be \(x, y\) or \(x, y, sample_weight\), got"


BAD_DATA = [
    ((X, Y[:3]), ValueError, rf"{ONE_LENGTH} \[3, 20\]"),
    ((X, Y, WEIGHT[:2]), ValueError, rf"{ONE_LENGTH} \[2, 20\]"),
    ((X[:0], Y[:0]), ValueError, rf"{ONE_LENGTH} \[0\]"),
    (({}, Y[:0]), ValueError, rf"{ONE_LENGTH} \[0\]"),
    ((X, 3), ValueError, rf"{ONE_LENGTH} \[0, 20\]"),
    ((X,), TypeError, f"{PAIRS} a tuple of 1"),
    ((X, Y, WEIGHT, Y), TypeError, f"{PAIRS} a tuple of 4"),
    (X, TypeError, f"{PAIRS} ndarray"),
    ((X, None), TypeError, "must be arrays of numbers"),
    ((X, Y.astype(str)), TypeError, "must be arrays of numbers, got one of strings"),
]


@pytest.fixture(scope="module")
def trainer():
    """A trainer that is not trained."""
    return trainer_of(net(dropout=0.5))


@pytest.mark.parametrize(("data", "error", "message"), BAD_DATA)
def test_malformed_data_are_refused(trainer, data, error, message):
    with pytest.raises(error, match=f"^data {message}"):
        trainer.fit(data)
    with pytest.raises(error, match=f"^data {message}"):
        trainer.evaluate(data)
    with pytest.raises(error, match=f"^validation_data {message}"):
        trainer.fit((X, Y), validation_data=data)


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (2.5, TypeError), (True, TypeError)])
def test_sizes_are_positive_integers(trainer, value, error):
    for run in (
        lambda: trainer.fit((X, Y), batch_size=value),
        lambda: trainer.evaluate((X, Y), batch_size=value),
        lambda: trainer.predict(X, batch_size=value),
    ):
        with pytest.raises(error, match="^batch_size must be a"):
            run()
    with pytest.raises(error, match="^epochs must be a"):
        trainer.fit((X, Y), epochs=value)
    assert trainer.state.step.numpy() == 0


def test_the_state_of_another_trainer_is_refused(trainer):
    before = bits(trainer.state)
    with pytest.raises(ValueError, match="^state must have the structure of the trainer's state"):
        trainer.state = trainer_of(net(dropout=0.5), tl.sgd()).state
    shorter = tf.nest.map_structure(lambda v: v[:1] if v.shape.rank else v, trainer.state)
    with pytest.raises(ValueError, match=r"^state must have the trainer's shapes: got \[1, 8\]"):
        trainer.state = shorter
    assert bits(trainer.state) == before


def test_hyperparameters_of_the_state_are_read_and_set():
    optimizer = tl.chain(
        tl.clip_by_global_norm(1.0), tl.inject_hyperparams(tl.adamw)(0.125, weight_decay=0.5)
    )
    trainer = trainer_of(optimizer=optimizer)
    before = bits(trainer.weights), trainer.state.opt_state
    trainer.set_hyperparams(weight_decay=0.25)
    assert trainer.hyperparam("weight_decay") == 0.25
    assert trainer.hyperparam("learning_rate") == 0.125
    assert (bits(trainer.weights), trainer.traces) == (before[0], 0)
    for call in (trainer.hyperparam, lambda name: trainer.set_hyperparams(**{name: 1.0})):
        with pytest.raises(ValueError, match="'learning_rat': did you mean 'learning_rate'"):
            call("learning_rat")


def test_a_hyperparameter_with_several_values_is_refused():
    optimizer = tl.partition(
        {
            "kernels": tl.inject_hyperparams(tl.sgd)(0.5),
            "others": tl.inject_hyperparams(tl.sgd)(0.25),
        },
        lambda path: "kernels" if path.endswith("kernel") else "others",
    )
    trainer = trainer_of(optimizer=optimizer)
    message = "the optimizer's state holds several values of learning_rate: 0.5, 0.25"
    with pytest.raises(ValueError, match=message):
        trainer.fit((X, Y), callbacks=[ReduceLROnPlateau("loss")])
    assert "learning_rate" not in trainer.fit((X, Y))[0]


def test_weights_are_assigned_without_the_rest_of_the_state(make):
    trainer = make()
    start = trainer.weights
    trainer.fit((X, Y), batch_size=BATCH)
    rest = bits([trainer.state.step, trainer.state.opt_state])
    trainer.weights = start
    assert bits(trainer.weights) == bits(start)
    assert bits([trainer.state.step, trainer.state.opt_state]) == rest
    with pytest.raises(ValueError, match="^weights must have the structure of the trainer's wei"):
        trainer.weights = start[0]


def test_a_second_fit_at_the_same_time_is_refused():
    model = FunctionalModel(
        lambda p, s, x, training: tl.ModelOutput(x * p["w"], s), {"w": tf.ones([])}
    )
    trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.1), execution="graph")
    data = np.ones((4, 1), np.float32), np.ones((4, 1), np.float32)
    refused = []

    def train_again(status):
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()

    def attempt():
        with pytest.raises(RuntimeError, match="this trainer is training already"):
            trainer.fit(data, verbose=0)
        refused.append(True)

    trainer.fit(data, epochs=2, callbacks=[train_again], verbose=0)
    assert (refused, int(trainer.state.step)) == ([True, True], 2)
    trainer.fit(data, verbose=0)
    assert int(trainer.state.step) == 3

"""`Trainer`: the same numbers as a plain loop, as NumPy and as Keras; few traces; clear errors."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.callbacks import Callback, EarlyStopping, ReduceLROnPlateau
from trainlib.registry import METRICS
from trainlib.training import loop as loop_module
from trainlib.training.functional_model import FunctionalModel, from_keras
from trainlib.training.input_pipeline import Arrays, specs_of
from trainlib.training.order import epoch_order

SIZE, BATCH = 23, 5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(SIZE, 4)).astype("float32")
Y = RNG.integers(0, 3, SIZE)
WEIGHT = RNG.uniform(0.5, 2, SIZE).astype("float32")
crossentropy = functools.partial(tl.losses.sparse_categorical_crossentropy, from_logits=True)
SOAK = pytest.mark.soak
ROUNDING = {"float32": 2e-6, "float64": 1e-14}
"""Of a few epochs: some 16 units in the last place in float32, 45 in float64."""


def net(*, dropout=0.0, dtype="float32", seed=0):
    keras.utils.set_random_seed(seed)
    layers = [
        keras.layers.Dense(8, use_bias=False, dtype=dtype, name="hidden"),
        keras.layers.BatchNormalization(dtype=dtype, name="norm"),
        keras.layers.Activation("tanh", dtype=dtype, name="tanh"),
        keras.layers.Dense(3, dtype=dtype, name="outputs"),
    ]
    if dropout:
        layers.insert(3, keras.layers.Dropout(dropout, dtype=dtype, name="dropout"))
    return keras.Sequential([keras.Input((4,), dtype=dtype), *layers])


def trainer_of(model=None, optimizer=None, **options):
    options = {"execution": "graph", "metrics": ["accuracy"]} | options
    return tl.Trainer(model or net(), crossentropy, optimizer or tl.nadam(2**-5), **options)


def arrays_of(tree):
    return [tf.convert_to_tensor(x).numpy() for x in tf.nest.flatten(tree)]


def bits(tree):
    return [x.tobytes() for x in arrays_of(tree)]


def assert_close(ours, theirs, tolerance):
    """Equal to the tolerance, relative to the largest number of each tensor."""
    for a, b in zip(arrays_of(ours), arrays_of(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.max(np.abs(b), initial=0))


def log_softmax(logits):
    z = logits.astype("float64")
    z -= z.max(axis=-1, keepdims=True)
    return z - np.log(np.sum(np.exp(z), axis=-1, keepdims=True))


@pytest.mark.parametrize(
    ("execution", "dropout", "dtype"),
    [
        ("graph", 0.25, "float32"),
        ("xla", 0.0, "float64"),
        pytest.param("graph", 0.25, "float64", marks=SOAK),
        pytest.param("xla", 0.0, "float32", marks=SOAK),
    ],
)
def test_training_is_a_plain_loop_over_train_step(execution, dropout, dtype):
    model, optimizer = net(dropout=dropout, dtype=dtype), tl.nadam(2**-5)
    data = X.astype(dtype), Y, WEIGHT.astype(dtype)
    apply_fn, params, model_state = from_keras(model, seed=3)
    state = tl.init_state(params, model_state, optimizer, seed=3)
    step = tl.train_step(
        tl.StepConfig(apply_fn, crossentropy, optimizer, metrics={"accuracy": tl.metrics.accuracy})
    )
    trainer = trainer_of(model, optimizer, seed=3, execution=execution)
    history = trainer.fit(data, batch_size=BATCH, epochs=3)
    for epoch, results in enumerate(history):
        order = epoch_order(3, epoch, SIZE)
        total = {"loss": tl.Mean.empty(), "accuracy": tl.Mean.empty()}
        for start in range(0, SIZE, BATCH):
            rows = order[start : start + BATCH]
            state, records = step(state, tuple(tf.constant(a[rows]) for a in data))
            total = {name: mean.merge(records[name]) for name, mean in total.items()}
        for name, mean in total.items():
            assert results[name] == pytest.approx(float(mean.compute()), rel=ROUNDING[dtype])
        assert (results["epoch"], results["step"]) == (epoch + 1, 5 * (epoch + 1))
    assert_close(trainer.state, state, ROUNDING[dtype])


def test_training_is_that_of_keras_fit_in_the_same_order():
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


def test_training_on_the_whole_batch_is_that_of_keras_fit():
    model, theirs = net(), net()
    trainer_of(model, tl.sgd(0.125, momentum=0.75)).fit((X, Y), batch_size=SIZE, epochs=20)
    theirs.compile(
        keras.optimizers.SGD(0.125, momentum=0.75),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    theirs.fit(X, Y, batch_size=SIZE, epochs=20, shuffle=False, verbose=0)
    assert_close(model.get_weights(), theirs.get_weights(), 3e-6)


@pytest.mark.parametrize("execution", ["graph", "xla"])
def test_each_shape_is_traced_once(execution):
    trainer = trainer_of(execution=execution)

    def traces(run):
        before = trainer.traces
        run()
        return trainer.traces - before

    assert traces(lambda: trainer.fit((X, Y), batch_size=BATCH, epochs=3)) == 2
    assert traces(lambda: trainer.fit((X[:20], Y[:20]), batch_size=BATCH, epochs=2)) == 0
    assert traces(lambda: trainer.evaluate((X, Y))) == 1
    assert traces(lambda: trainer.evaluate((X[:9], Y[:9]))) == 0
    assert traces(lambda: trainer.fit((X, Y), batch_size=BATCH, validation_data=(X, Y))) == 0
    assert traces(lambda: trainer.predict(X, batch_size=9)) == 1
    assert traces(lambda: trainer.predict(X[:4])) == 0
    assert traces(lambda: trainer.evaluate((X, Y, WEIGHT))) == 1


def test_how_many_steps_a_call_makes_does_not_change_the_bits(monkeypatch):
    ends, calls = [], []
    for seconds in (0.0, 1e9):
        monkeypatch.setattr(loop_module, "SECONDS_PER_CALL", seconds)
        recorder = Recorder()
        trainer = trainer_of(net(dropout=0.25))
        trainer.fit((X, Y), batch_size=2, epochs=2, callbacks=[recorder])
        ends.append(bits(trainer.state))
        calls.append([event[2] for event in recorder.events if event[0] == "step"])
    assert calls == [[*range(1, 13)] * 2, [1, 11, 12, 11, 12]]
    assert ends[0] == ends[1]


def test_the_seed_decides_the_bits():
    def train(seed):
        trainer = trainer_of(net(dropout=0.25), seed=seed)
        trainer.fit((X, Y), batch_size=BATCH, epochs=2)
        return bits(trainer.state.params)

    first = train(1)
    assert train(1) == first
    assert all(a != b for a, b in zip(train(2), first, strict=True))


def test_graph_and_xla_agree():
    ends = []
    for execution in ("graph", "xla"):
        trainer = trainer_of(net(dtype="float64"), execution=execution)
        trainer.fit((X.astype("float64"), Y), batch_size=BATCH, epochs=3)
        ends.append((trainer.state, list(trainer.evaluate((X.astype("float64"), Y)).values())))
    assert_close(ends[0], ends[1], ROUNDING["float64"])


def test_xla_compiles_the_whole_step_and_graph_does_not():
    def in_python(y_true, y_pred):
        values = tf.numpy_function(lambda y: np.float32(y > 1), [y_true], tf.float32)
        return tf.ensure_shape(values, y_true.shape)

    results = trainer_of(metrics=[in_python], execution="graph").evaluate((X, Y))
    assert results["in_python"] == pytest.approx(np.mean(Y > 1))
    with pytest.raises(tf.errors.InvalidArgumentError, match="unsupported operations"):
        trainer_of(metrics=[in_python], execution="xla").evaluate((X, Y))


@pytest.fixture(scope="module")
def evaluated():
    """A trainer that is only asked, and the logits of its model."""
    model = net(dropout=0.5)
    return trainer_of(model), model.predict(X, verbose=0)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("size", [1, 7, 8, 9, SIZE])
def test_evaluation_is_the_weighted_mean_over_the_examples(evaluated, size, weighted):
    trainer, logits = evaluated
    data = (X, Y, WEIGHT) if weighted else (X, Y)
    results = trainer.evaluate(tuple(a[:size] for a in data), batch_size=8)
    w = WEIGHT[:size].astype("float64") if weighted else np.ones(size)
    losses = -log_softmax(logits[:size])[np.arange(size), Y[:size]]
    hits = np.argmax(logits[:size], axis=-1) == Y[:size]
    assert list(results) == ["loss", "accuracy"]
    assert results["loss"] == pytest.approx(np.sum(w * losses) / np.sum(w), rel=1e-6)
    assert results["accuracy"] == pytest.approx(np.sum(w * hits) / np.sum(w), rel=1e-6)


BY_NAME = ["accuracy", "f1_score", "auc", "confusion_matrix", "precision"]


@pytest.mark.parametrize("execution", ["graph", "xla"])
@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_by_name_are_those_of_all_the_examples_at_once(execution, weighted):
    data = (X, Y, WEIGHT) if weighted else (X, Y)
    trainer = trainer_of(metrics=BY_NAME, execution=execution)
    results = trainer.evaluate(data, batch_size=8)
    logits = trainer.predict(X)
    assert list(results) == ["loss", *BY_NAME]
    for name in BY_NAME:
        metric = tl.metrics.as_metric(tl.metrics.make_metric(METRICS[name]))
        expected = metric.compute(metric.from_model_output(Y, logits, *data[2:])).numpy()
        assert np.shape(results[name]) == ((3, 3) if name == "confusion_matrix" else ())
        np.testing.assert_allclose(results[name], expected, rtol=1e-12)
    assert json.loads(json.dumps(results)) == results
    assert np.sum(results["confusion_matrix"]) == pytest.approx(
        WEIGHT.sum() if weighted else SIZE, rel=1e-6
    )


@pytest.mark.parametrize("execution", ["graph", pytest.param("xla", marks=SOAK)])
def test_metrics_of_an_epoch_are_those_of_its_batches_merged(execution):
    named = {"area": "auc", "by class": tl.metrics.f1_score("none"), "hits": tl.metrics.accuracy}
    trainer = trainer_of(optimizer=tl.sgd(0.0), metrics=named, execution=execution)
    results = trainer.fit((X, Y, WEIGHT), batch_size=BATCH, validation_data=(X, Y))[0]
    metrics = named | {"area": tl.metrics.auc()}
    step = tl.train_step(
        tl.StepConfig(*from_keras(trainer.model)[:1], crossentropy, tl.sgd(0.0), metrics=metrics)
    )
    state, order, records = trainer_of(optimizer=tl.sgd(0.0)).state, epoch_order(0, 0, SIZE), None
    for rows in (order[i : i + BATCH] for i in range(0, SIZE, BATCH)):
        state, new = step(state, tuple(tf.constant(a[rows]) for a in (X, Y, WEIGHT)))
        records = new if records is None else tl.metrics.merge(records, new)
    for name, value in tl.metrics.results(metrics, records).items():
        np.testing.assert_allclose(results[name], value, rtol=1e-6)
    assert [type(results[name]) for name in named] == [float, list, float]
    assert {f"val_{name}" for name in named} <= set(results)


def test_only_metrics_that_are_no_means_need_the_predictions_shape():
    plain = trainer_of(metrics=["accuracy", tl.metrics.mean_squared_error])
    area = trainer_of(metrics=["accuracy", "auc"])
    for trainer, traces in ((plain, 0), (area, 1)):
        records = trainer.programs.no_records("graph", specs_of((X, Y)))
        assert trainer.traces == traces
        assert isinstance(records["accuracy"], tl.Mean)


def test_metrics_of_a_model_of_one_score():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    named = {
        "precision": tl.metrics.on_probabilities(tl.metrics.precision([0.25, 0.5]), "sigmoid"),
        "matrix": "confusion_matrix",
        "r2": "r2_score",
    }
    trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(), metrics=named)
    y = (Y > 0).astype("float32")
    results, logits = trainer.evaluate((X, y)), trainer.predict(X)[:, 0]
    for i, threshold in enumerate((0.25, 0.5)):
        predicted = 1 / (1 + np.exp(-logits)) > threshold
        assert results["precision"][i] == pytest.approx(y[predicted].mean(), rel=1e-6)
    assert np.sum(results["matrix"], axis=1).tolist() == [np.sum(y == 0), np.sum(y == 1)]
    residual = np.sum((y - logits.astype("float64")) ** 2)
    assert results["r2"] == pytest.approx(1 - residual / np.sum((y - y.mean()) ** 2), rel=1e-6)


def test_metrics_of_a_model_of_several_outputs_are_functions_of_ones_own():
    inputs = keras.Input((4,))
    outputs = {"a": keras.layers.Dense(3, name="a")(inputs), "b": keras.layers.Dense(1)(inputs)}
    model = keras.Model(inputs, outputs)

    def loss(y_true, y_pred):
        return crossentropy(y_true, y_pred["a"])

    def of_a(y_true, y_pred):
        return tl.metrics.accuracy(y_true, y_pred["a"])

    assert 0 <= tl.Trainer(model, loss, tl.sgd(), metrics=[of_a]).evaluate((X, Y))["of_a"] <= 1
    trainer = tl.Trainer(model, loss, tl.sgd(), metrics=[of_a, "auc"])
    with pytest.raises(ValueError, match="^metrics auc need a model of one output"):
        trainer.evaluate((X, Y))


@pytest.mark.parametrize("batch_size", [1, 7, 512])
def test_predictions_are_those_of_the_model(evaluated, batch_size):
    trainer, logits = evaluated
    y_pred = trainer.predict(X, batch_size=batch_size)
    assert isinstance(y_pred, np.ndarray)
    np.testing.assert_allclose(y_pred, logits, rtol=0, atol=1e-6)


def test_neither_evaluation_nor_prediction_changes_the_state():
    trainer = trainer_of(net(dropout=0.5))
    before = bits(trainer.state)
    trainer.evaluate((X, Y))
    trainer.predict(X)
    assert bits(trainer.state) == before


def test_the_penalty_is_on_kernels_and_counts_in_every_loss():
    model = net()
    kernels = [w for w in model.get_weights() if w.ndim > 1]
    penalty = 0.5 * sum(np.sum(w.astype("float64") ** 2) for w in kernels)
    plain, penalized = (trainer_of(model, regularizer=r) for r in (None, tl.l2(0.5)))
    bare = plain.evaluate((X, Y))["loss"]
    assert penalized.evaluate((X, Y))["loss"] == pytest.approx(bare + penalty, rel=1e-6)
    assert len(kernels) == 2
    trained = penalized.fit((X, Y), batch_size=SIZE)[0]["loss"]
    assert trained == pytest.approx(
        plain.fit((X, Y), batch_size=SIZE)[0]["loss"] + penalty, rel=1e-6
    )


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
    "parts", [pytest.param((1, 3), marks=SOAK), pytest.param((2, 2), marks=SOAK), (1, 1, 1, 1)]
)
def test_a_run_in_parts_ends_in_the_bits_of_a_whole_one(parts):
    whole = trainer_of(net(dropout=0.25), seed=3)
    whole.fit((X, Y), batch_size=BATCH, epochs=4)
    trainer = trainer_of(net(dropout=0.25), seed=3)
    trainer.fit((X, Y), batch_size=BATCH, epochs=parts[0])
    for seed, epochs in enumerate(parts[1:], start=4):
        state = trainer.state
        trainer = trainer_of(net(dropout=0.25, seed=seed), seed=seed)
        trainer.state = state
        trainer.fit((X, Y), batch_size=BATCH, epochs=epochs)
    assert bits(trainer.state) == bits(whole.state)


def test_the_state_is_a_copy():
    trainer = trainer_of()
    state = trainer.state
    before = bits(state)
    trainer.fit((X, Y), batch_size=BATCH)
    assert isinstance(state, tl.TrainState)
    assert bits(state) == before != bits(trainer.state)


@pytest.mark.parametrize("execution", ["auto", pytest.param("xla", marks=SOAK)])
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


def test_the_history_tells_what_it_should():
    rate = tl.exponential_decay(0.5, 5, 0.5)
    trainer = trainer_of(optimizer=tl.sgd(rate), report={"learning_rate": rate})
    history = trainer.fit((X, Y), batch_size=BATCH, epochs=2, validation_data=(X, Y))
    names = "epoch step loss accuracy val_loss val_accuracy learning_rate seconds"
    assert [list(results) for results in history] == [names.split()] * 2
    assert all(type(x) in (int, float) for results in history for x in results.values())
    # The rate of the last update of each epoch, as float32 prints it.
    assert [results["learning_rate"] for results in history] == [
        float(str(np.float32(0.5 * 0.5 ** (k / 5)))) for k in (4, 9)
    ]


class Recorder(Callback):
    """Notes what it is told; raises `error` where the event `when` comes."""

    def __init__(self, when=None, error=None):
        self.events, self.when, self.error = [], when, error

    def note(self, *event):
        self.events.append(event)
        if event == self.when:
            raise self.error

    def on_train_batch_end(self, status):
        assert status.metrics().keys() == {"loss", "accuracy"}
        self.note("step", status.epoch, status.batch)

    def on_epoch_end(self, status):
        assert (status.epochs, status.batch) == (2, status.steps_per_epoch)
        self.note("epoch", status.epoch, status.results)

    def on_train_end(self, status):
        self.note("end", status.finished)


def test_callbacks_are_told_of_steps_then_the_epoch_then_the_end(monkeypatch):
    monkeypatch.setattr(loop_module, "SECONDS_PER_CALL", 0.0)
    recorders = [Recorder(), Recorder()]
    history = trainer_of().fit((X, Y), batch_size=10, epochs=2, callbacks=recorders)
    steps = [[("step", epoch, position) for position in (1, 2, 3)] for epoch in (1, 2)]
    expected = [
        *steps[0],
        ("epoch", 1, history[0]),
        *steps[1],
        ("epoch", 2, history[1]),
        ("end", True),
    ]
    assert [recorder.events for recorder in recorders] == [expected, expected]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no")], ids=repr)
def test_callbacks_are_told_of_the_end_when_a_run_is_broken_off(error, monkeypatch):
    monkeypatch.setattr(loop_module, "SECONDS_PER_CALL", 0.0)
    recorders = [Recorder(), Recorder(("step", 2, 2), error)]
    trainer = trainer_of()
    with pytest.raises(type(error)):
        trainer.fit((X, Y), batch_size=10, epochs=2, callbacks=recorders)
    kinds = ["step"] * 3 + ["epoch"] + ["step"] * 2 + ["end"]
    assert [[event[0] for event in r.events] for r in recorders] == [kinds, kinds]
    assert trainer.state.step.numpy() == 5


def test_a_callback_does_nothing_by_itself():
    assert trainer_of().fit((X, Y), callbacks=[Callback()])[0]["step"] == 1


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
        ({"seed": 0.5}, TypeError, "seed must be a whole number, got 0.5"),
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
    with pytest.raises(ValueError, match=r"^the model has no variables yet: begin it with"):
        trainer_of(model)


ONE_LENGTH = "must be arrays of one length above 0, got lengths"
PAIRS = r"must be \(x, y\) or \(x, y, sample_weight\), got"
BAD_DATA = [
    ((X, Y[:3]), ValueError, rf"{ONE_LENGTH} \[3, 23\]"),
    ((X, Y, WEIGHT[:2]), ValueError, rf"{ONE_LENGTH} \[2, 23\]"),
    ((X[:0], Y[:0]), ValueError, rf"{ONE_LENGTH} \[0\]"),
    (({}, Y[:0]), ValueError, rf"{ONE_LENGTH} \[0\]"),
    ((X, 3), ValueError, rf"{ONE_LENGTH} \[0, 23\]"),
    ((X,), TypeError, f"{PAIRS} a tuple of 1"),
    ((X, Y, WEIGHT, Y), TypeError, f"{PAIRS} a tuple of 4"),
    (X, TypeError, f"{PAIRS} ndarray"),
    ((X, None), TypeError, "must be arrays of numbers"),
    ((X, Y.astype(str)), TypeError, "must be arrays of numbers, got one of strings"),
]


@pytest.mark.parametrize(("data", "error", "message"), BAD_DATA)
def test_unfit_data_are_refused(evaluated, data, error, message):
    trainer, _ = evaluated
    with pytest.raises(error, match=f"^data {message}"):
        trainer.fit(data)
    with pytest.raises(error, match=f"^data {message}"):
        trainer.evaluate(data)
    with pytest.raises(error, match=f"^validation_data {message}"):
        trainer.fit((X, Y), validation_data=data)


@pytest.mark.parametrize(
    ("x", "error"), [(X[:0], ValueError), ([], ValueError), (None, TypeError), ("no", TypeError)]
)
def test_nothing_to_predict_is_refused(evaluated, x, error):
    with pytest.raises(error, match="^x must be arrays of"):
        evaluated[0].predict(x)


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (2.5, TypeError), (True, TypeError)])
def test_sizes_are_whole_numbers_above_0(evaluated, value, error):
    trainer, _ = evaluated
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


def test_the_state_of_another_trainer_is_refused(evaluated):
    trainer, _ = evaluated
    before = bits(trainer.state)
    with pytest.raises(ValueError, match="^state must have the structure of the trainer's state"):
        trainer.state = trainer_of(net(dropout=0.5), tl.sgd()).state
    shorter = tf.nest.map_structure(lambda v: v[:1] if v.shape.rank else v, trainer.state)
    with pytest.raises(ValueError, match=r"^state must have the trainer's shapes: got \[1, 8\]"):
        trainer.state = shorter
    assert bits(trainer.state) == before


NOISE = RNG.integers(0, 3, SIZE)
"""Labels that follow from nothing: the model learns its own by heart, and these get worse."""


class Weights(Callback):
    """Notes the weights of the trainer after each epoch."""

    def on_train_begin(self, status):
        self.seen = []

    def on_epoch_end(self, status):
        state = status.state()
        self.seen.append(arrays_of((state.params, state.model_state)))


@pytest.mark.parametrize("execution", ["graph", pytest.param("xla", marks=SOAK)])
def test_the_plateau_reduces_the_rate_without_a_new_trace(execution, capsys):
    optimizer = tl.inject_hyperparams(tl.sgd)(2**-5)
    trainer = trainer_of(optimizer=optimizer, execution=execution)
    plateau = ReduceLROnPlateau("loss", mode="max", patience=2, factor=0.25, min_lr=2**-9)
    history = trainer.fit((X, Y), batch_size=BATCH, epochs=9, callbacks=[plateau])
    # The loss falls, so that its largest value is that of the first epoch.
    rates = [2**-5] * 3 + [2**-7] * 2 + [2**-9] * 4
    assert [results["learning_rate"] for results in history] == rates
    assert trainer.traces == 2
    assert capsys.readouterr().out.splitlines() == [
        "epoch 3: learning rate 0.03125 -> 0.007812",
        "epoch 5: learning rate 0.007812 -> 0.001953",
    ]
    # The rates are those with which the model was trained.
    plain = trainer_of(optimizer=tl.sgd(lambda k: tf.gather(rates, k // 5)), execution=execution)
    plain.fit((X, Y), batch_size=BATCH, epochs=9)
    assert_close(trainer.weights, plain.weights, 1e-7)


def test_a_schedule_is_reduced_by_a_factor_on_its_updates():
    optimizer = tl.chain(
        tl.sgd(tl.exponential_decay(0.5, 5, 0.5)), tl.inject_hyperparams(tl.scale)(factor=1.0)
    )
    trainer = trainer_of(optimizer=optimizer)
    plateau = ReduceLROnPlateau("loss", hyperparam="factor", mode="max", patience=1, factor=0.5)
    trainer.fit((X, Y), batch_size=BATCH, epochs=3, callbacks=[plateau])
    assert trainer.hyperparam("factor") == 0.25


@pytest.mark.parametrize("restore", [False, True])
def test_early_stopping_ends_the_run_and_restores_the_best_epoch(restore, capsys):
    model = net(dropout=0.25)
    trainer, weights = trainer_of(model, tl.nadam(2**-4)), Weights()
    stop = EarlyStopping(patience=3, restore_best_weights=restore)
    history = trainer.fit(
        (X, Y),
        batch_size=BATCH,
        epochs=50,
        validation_data=(X, NOISE),
        callbacks=[stop, weights],
    )
    best = int(np.argmin([results["val_loss"] for results in history]))
    assert len(history) == best + 4 < 50
    expected = weights.seen[best if restore else -1]
    for a, b in zip(arrays_of(trainer.weights), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(weights.seen[best], weights.seen[-1], strict=True):
        assert np.any(a != b)
    logits = model.predict(X, verbose=0)
    losses = -log_softmax(logits)[np.arange(SIZE), NOISE]
    assert np.mean(losses) == pytest.approx(history[best if restore else -1]["val_loss"], rel=1e-6)
    end = f"; parameters of epoch {best + 1} restored" if restore else ""
    assert capsys.readouterr().out == (
        f"stopped after epoch {best + 4}: val_loss has not improved on "
        f"{history[best]['val_loss']:.4g} (epoch {best + 1}) for 3 epochs{end}\n"
    )


def test_a_callback_may_stop_a_run_within_an_epoch():
    class AtSeven(Callback):
        every = 7

        def on_train_batch_end(self, status):
            return tl.callbacks.Stop("enough") if status.global_batch == 7 else None

    trainer = trainer_of()
    history = trainer.fit((X, Y), batch_size=BATCH, epochs=9, callbacks=[AtSeven()])
    assert [results["epoch"] for results in history] == [1]
    assert trainer.state.step.numpy() == 7


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


def test_two_values_of_one_hyperparameter_are_not_one():
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


def test_weights_are_assigned_without_the_rest_of_the_state():
    trainer = trainer_of()
    start = trainer.weights
    trainer.fit((X, Y), batch_size=BATCH)
    rest = bits([trainer.state.step, trainer.state.opt_state])
    trainer.weights = start
    assert bits(trainer.weights) == bits(start)
    assert bits([trainer.state.step, trainer.state.opt_state]) == rest
    with pytest.raises(ValueError, match="^weights must have the structure of the trainer's wei"):
        trainer.weights = start[0]


@pytest.mark.parametrize("optimizer", [tl.sgd(), tl.inject_hyperparams(tl.scale)(factor=1.0)])
def test_a_plateau_without_a_rate_in_the_state_is_refused_before_the_first_step(optimizer):
    trainer, recorder = trainer_of(optimizer=optimizer), Recorder()
    with pytest.raises(
        ValueError, match=r"needs one learning_rate .* tl.inject_hyperparams\(tl.ad"
    ):
        trainer.fit((X, Y), callbacks=[ReduceLROnPlateau("loss"), recorder])
    assert trainer.state.step.numpy() == 0
    assert recorder.events == [("end", False)]


def test_a_plateau_on_a_schedule_is_refused_after_the_first_epoch():
    optimizer = tl.inject_hyperparams(tl.sgd)(tl.exponential_decay(0.5, 5, 0.5))
    with pytest.raises(ValueError, match="a schedule or another callback changes it too"):
        trainer_of(optimizer=optimizer).fit(
            (X, Y), batch_size=BATCH, epochs=2, callbacks=[ReduceLROnPlateau("loss")]
        )


def test_an_unknown_monitor_is_refused_after_the_first_epoch():
    trainer = trainer_of()
    with pytest.raises(ValueError, match="results are loss, accuracy; it needs validation_data$"):
        trainer.fit((X, Y), batch_size=BATCH, epochs=3, callbacks=[EarlyStopping()])
    assert trainer.state.step.numpy() == 5


def test_callbacks_are_told_of_the_start_and_of_the_finish_of_a_run():
    class Ends(Recorder):
        def on_train_begin(self, status):
            self.note("start", status.state().step.numpy())

    whole, broken = Ends(), Ends(("step", 1, 1), RuntimeError("no"))
    trainer = trainer_of()
    trainer.fit((X, Y), batch_size=SIZE, epochs=2, callbacks=[whole])
    kinds = ["start", "step", "epoch", "step", "epoch", "end"]
    assert [event[0] for event in whole.events] == kinds
    with pytest.raises(RuntimeError):
        trainer.fit((X, Y), batch_size=SIZE, epochs=2, callbacks=[broken])
    assert broken.events == [("start", 2), ("step", 1, 1), ("end", False)]


@SOAK
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("execution", ["graph", "xla"])
def test_memory_does_not_grow_with_calls(execution):
    def pages():
        return int(Path("/proc/self/statm").read_text().split()[1])

    trainer = trainer_of(execution=execution)
    (chunk,) = Arrays("data", (X[:20], Y[:20]), BATCH).training()
    specs = specs_of(chunk.examples)
    run = trainer.programs.train(execution, chunk.rows, specs)
    records = trainer.programs.no_records(execution, specs)

    def call(count):
        for _ in range(count):
            run(chunk.examples, tf.constant(0, tf.int64), tf.constant(5, tf.int64), False, records)

    call(500)
    before = pages()
    call(10_000)
    assert pages() - before < 2000  # 8 MB; a kilobyte a call would be 10

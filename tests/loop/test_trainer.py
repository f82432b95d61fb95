"""`Trainer`: the same numbers as a plain loop, as NumPy and as Keras; few traces; clear errors."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.callbacks import Callback
from trainlib.loop import trainer as trainer_module
from trainlib.loop.order import epoch_order
from trainlib.loop.stateless import Stateless, from_keras

SIZE, BATCH = 23, 5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(SIZE, 4)).astype("float32")
Y = RNG.integers(0, 3, SIZE)
WEIGHT = RNG.uniform(0.5, 2, SIZE).astype("float32")
crossentropy = functools.partial(tl.losses.sparse_categorical_crossentropy, from_logits=True)
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


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize(("execution", "dropout"), [("graph", 0.25), ("xla", 0.0)])
def test_training_is_a_plain_loop_over_train_step(execution, dropout, dtype):
    model, optimizer = net(dropout=dropout, dtype=dtype), tl.nadam(2**-5)
    data = X.astype(dtype), Y, WEIGHT.astype(dtype)
    apply_fn, params, model_state = from_keras(model, seed=3)
    state = tl.init_state(params, model_state, optimizer, seed=3)
    step = tl.train_step(
        apply_fn, crossentropy, optimizer, metrics={"accuracy": tl.metrics.accuracy}
    )
    trainer = trainer_of(model, optimizer, seed=3, execution=execution)
    history = trainer.fit(data, batch_size=BATCH, epochs=3)
    for epoch, results in enumerate(history):
        order = epoch_order(3, epoch, SIZE).numpy()
        total = {"loss": tl.Mean.empty(), "accuracy": tl.Mean.empty()}
        for start in range(0, SIZE, BATCH):
            rows = order[start : start + BATCH]
            state, records = step(state, tuple(tf.constant(a[rows]) for a in data))
            total = {name: mean.merge(records[name]) for name, mean in total.items()}
        for name, mean in total.items():
            assert results[name] == pytest.approx(float(mean.result()), rel=ROUNDING[dtype])
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
        order = epoch_order(0, epoch, SIZE).numpy()
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
        monkeypatch.setattr(trainer_module, "SECONDS_PER_CALL", seconds)
        recorder = Recorder()
        trainer = trainer_of(net(dropout=0.25))
        trainer.fit((X, Y), batch_size=2, epochs=2, callbacks=[recorder])
        ends.append(bits(trainer.state))
        calls.append([event[2] for event in recorder.events if event[0] == "step"])
    assert calls == [[*range(1, 13)] * 2, [1, 11, 12] * 2]
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


@pytest.mark.parametrize("parts", [(1, 3), (2, 2), (1, 1, 1, 1)])
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


@pytest.mark.parametrize("execution", ["auto", "xla"])
def test_any_function_of_parameters_trains(execution):
    x = X.astype("float64")
    y = x @ np.arange(4.0)[:, None] - 1

    def apply_fn(params, model_state, x, training):
        return tl.Forward(x @ params["w"] + params["b"], model_state)

    zeros = {"w": tf.zeros([4, 1], tf.float64), "b": tf.zeros([1], tf.float64)}
    trainer = tl.Trainer(
        Stateless(apply_fn, zeros), "mean_squared_error", tl.sgd(0.125), execution=execution
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

    def on_step(self, progress):
        assert progress.metrics().keys() == {"loss", "accuracy"}
        self.note("step", progress.epoch, progress.position)

    def on_epoch(self, progress, results):
        assert (progress.epochs, progress.position) == (2, progress.steps)
        self.note("epoch", progress.epoch, results)

    def on_end(self):
        self.note("end")


def test_callbacks_are_told_of_steps_then_the_epoch_then_the_end(monkeypatch):
    monkeypatch.setattr(trainer_module, "SECONDS_PER_CALL", 0.0)
    recorders = [Recorder(), Recorder()]
    history = trainer_of().fit((X, Y), batch_size=10, epochs=2, callbacks=recorders)
    steps = [[("step", epoch, position) for position in (1, 2, 3)] for epoch in (1, 2)]
    expected = [*steps[0], ("epoch", 1, history[0]), *steps[1], ("epoch", 2, history[1]), ("end",)]
    assert [recorder.events for recorder in recorders] == [expected, expected]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no")], ids=repr)
def test_callbacks_are_told_of_the_end_when_a_run_is_broken_off(error, monkeypatch):
    monkeypatch.setattr(trainer_module, "SECONDS_PER_CALL", 0.0)
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
        ({"model": "mlp"}, TypeError, "model must be a Keras model or a Stateless, got 'mlp'"),
        ({"loss": "hubr"}, ValueError, "unknown loss 'hubr': did you mean 'huber'"),
        ({"loss": None}, TypeError, "loss must be a name or a function"),
        ({"optimizer": tl.adam}, TypeError, "optimizer must be an Optimizer such as tl.adam"),
        ({"optimizer": "adam"}, TypeError, "optimizer must be an Optimizer .* got 'adam'"),
        ({"optimizer": keras.optimizers.SGD()}, TypeError, "optimizer must be an Optimizer"),
        ({"metrics": ["acuracy"]}, ValueError, "unknown metric 'acuracy': did you mean 'accuracy'"),
        ({"metrics": "accuracy"}, TypeError, r"metrics must be a list.* write \['accuracy'\]"),
        ({"metrics": [3]}, TypeError, "metric must be a name or a function .* got 3"),
        ({"metrics": ["accuracy"] * 2}, ValueError, "two results are named 'accuracy'"),
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
    ([X, Y], TypeError, f"{PAIRS} list"),
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

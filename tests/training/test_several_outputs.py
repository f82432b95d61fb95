"""Models of several inputs and outputs train and evaluate as in Keras, number by number.

Keras runs eagerly: in a graph it takes the losses of outputs as means over batches of equal
weight, so that a smaller last batch counts as much as the others.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import soak_except

import trainlib as tl

L = keras.layers
RNG = np.random.default_rng(0)
ROWS, EPOCHS, BATCH_SIZE = 22, 2, 8
A, B = (RNG.normal(size=(ROWS, n)).astype("float32") for n in (3, 4))
STEPS = RNG.normal(size=(ROWS, 5, 2)).astype("float32")
STEPS[::2, 3:] = 0
NUMBERS = RNG.normal(size=(ROWS, 1)).astype("float32")
CLASSES = RNG.integers(0, 3, ROWS)
BINARY = (NUMBERS > 0).astype("float32")
BY_STEP = RNG.normal(size=(ROWS, 5, 1)).astype("float32")
WEIGHT, OTHER = (RNG.uniform(0.5, 2, ROWS).astype("float32") for _ in range(2))


class Case(NamedTuple):
    """A model with several inputs or outputs, its data and the arguments of `compile` and `fit`."""

    model: Any
    x: Any
    y: Any
    loss: Any
    weights: Any = None
    metrics: Any = None
    weighted: Any = None
    sample_weight: Any = None
    class_weight: Any = None


def heads(inputs, hidden):
    return L.Dense(1, name="main")(hidden), L.Dense(3, "softmax", name="aux")(L.ReLU()(hidden))


def listed(join=list):
    def build():
        inputs = keras.Input((3,))
        return keras.Model(inputs, join(heads(inputs, L.Dense(4, "tanh")(inputs))))

    return build


def named():
    inputs = keras.Input((3,))
    main, aux = heads(inputs, L.Dense(4, "tanh")(inputs))
    return keras.Model(inputs, {"price": main, "kind": aux})


def nested():
    inputs = keras.Input((3,))
    main, aux = heads(inputs, L.Dense(4, "tanh")(inputs))
    return keras.Model(inputs, {"heads": {"main": main, "aux": aux}, "one": L.Dense(1)(inputs)})


def wide_deep(join):
    def build():
        a, b = keras.Input((3,), name="a"), keras.Input((4,), name="b")
        deep = L.Dense(4, "relu")(L.Dense(5, "relu")(b))
        main = L.Dense(1, name="main")(L.Concatenate()([a, deep]))
        return keras.Model(join(a, b), [main, L.Dense(1, name="aux")(deep)])

    return build


@keras.saving.register_keras_serializable("tests_several_outputs")
class WideDeep(keras.Model):
    """The same, with a `call`."""

    def __init__(self, join=dict, **options):
        super().__init__(**options)
        self.join = join
        self.deep = [L.Dense(5, "relu"), L.Dense(4, "relu")]
        self.main, self.aux = L.Dense(1, name="main"), L.Dense(1, name="aux")

    def call(self, x):
        a, h = x
        for layer in self.deep:
            h = layer(h)
        found = {"main": self.main(tf.concat([a, h], -1)), "aux": self.aux(h)}
        return found if self.join is dict else self.join(found.values())


def subclassed(join=dict):
    def build():
        model = WideDeep(join)
        model((A[:2], B[:2]))
        return model

    return build


def shared():
    a, b = keras.Input((3,)), keras.Input((3,))
    layer, last = L.Dense(4, "tanh"), L.Dense(1, name="score")
    return keras.Model([a, b], [last(layer(a)), last(layer(b))])


def masked():
    inputs = keras.Input((5, 2))
    hidden = L.Masking()(inputs)
    each = L.SimpleRNN(3, return_sequences=True)(hidden)
    return keras.Model(
        inputs, [L.Dense(1, name="steps")(each), L.Dense(1, name="all")(L.Flatten()(inputs))]
    )


def sums(**losses):
    """Losses of Keras that divide by the sum of the weights."""
    reduction = "mean_with_sample_weight"
    return {name: loss(reduction=reduction) for name, loss in losses.items()}


MSE, MAE = keras.losses.MeanSquaredError, keras.losses.MeanAbsoluteError
CROSS = "sparse_categorical_crossentropy"
Y = [NUMBERS, CLASSES]
CASES = {
    "lists": Case(listed(), A, Y, ["mse", CROSS], [0.9, 0.1], [["mae"], ["accuracy"]]),
    "by name": Case(
        listed(tuple),
        A,
        {"aux": CLASSES, "main": NUMBERS},
        {"main": "mse", "aux": keras.losses.SparseCategoricalCrossentropy()},
        {"aux": 0.25, "main": 2.0},
        {"aux": ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(k=2)], "main": "mse"},
    ),
    "dict of outputs": Case(
        named, A, {"price": NUMBERS, "kind": CLASSES}, {"price": "mae", "kind": CROSS}
    ),
    "list of targets for a dict of outputs": Case(
        named, A, [CLASSES, NUMBERS], [CROSS, "mse"], [0.5, 2.0], ["accuracy", None]
    ),
    "no loss for an output": Case(
        listed(), A, Y, {"main": "mse", "aux": None}, metrics={"aux": "accuracy"}
    ),
    "targets of the outputs with a loss": Case(listed(), A, [NUMBERS], ["mse", None]),
    "nested outputs": Case(
        nested,
        A,
        {"heads": {"main": NUMBERS, "aux": CLASSES}, "one": -NUMBERS},
        {"heads": {"main": "mse", "aux": CROSS}, "one": "mae"},
        {"heads": {"main": 1.0, "aux": 0.5}, "one": 0.25},
    ),
    "one loss for all": Case(wide_deep(lambda *x: list(x)), [A, B], [NUMBERS, BINARY], "mse"),
    "tuple of inputs": Case(
        wide_deep(lambda *x: x), (A, B), (NUMBERS, BINARY), ["mse", "mae"], [0.9, 0.1]
    ),
    "dict of inputs": Case(
        wide_deep(lambda a, b: {"a": a, "b": b}),
        {"b": B, "a": A},
        (NUMBERS, BINARY),
        {"aux": "mse", "main": MAE()},
        metrics=[["mse", "mae"], ["mse"]],
    ),
    "subclassed": Case(
        subclassed(),
        (A, B),
        {"main": NUMBERS, "aux": BINARY},
        {"main": "mse", "aux": "mse"},
        {"main": 0.9, "aux": 0.1},
        {"main": ["mae"], "aux": [keras.metrics.RootMeanSquaredError("rmse")]},
    ),
    "shared layers": Case(shared, [A, -A], [NUMBERS, BINARY], ["mse", "mae"], [0.7, 0.3]),
    "weights of the examples": Case(
        listed(),
        A,
        Y,
        sums(main=MSE, aux=keras.losses.SparseCategoricalCrossentropy),
        weighted={"main": ["mae"], "aux": ["accuracy"]},
        sample_weight=WEIGHT,
    ),
    "weights by output": Case(
        wide_deep(lambda *x: list(x)),
        [A, B],
        [NUMBERS, BINARY],
        sums(main=MSE, aux=MAE),
        [0.9, 0.1],
        weighted=[["mae"], ["mse"]],
        sample_weight=[WEIGHT, OTHER],
    ),
    "masks": Case(masked, STEPS, [BY_STEP, NUMBERS], ["mse", "mse"], [0.5, 1.0]),
}
RENAMED: dict[str, Any] = {"shared layers": {"score_1_loss": None}}
"""Results whose names Keras gives twice."""
QUICK = ("by name", "masks")


def built(case):
    """A model of the case, with the same first values each time."""
    keras.utils.set_random_seed(1)
    return case.model()


def trainer_of(case, **options):
    return tl.Trainer(
        built(case),
        case.loss,
        tl.sgd(0.05),
        loss_weights=case.weights,
        metrics=case.metrics or case.weighted or (),
        **{"execution": "graph", **options},
    )


def data_of(case):
    weight = () if case.sample_weight is None else (case.sample_weight,)
    return case.x, case.y, *weight


def keras_of(case):
    """The history and the results of Keras."""
    model = built(case)
    model.compile(
        keras.optimizers.SGD(0.05),
        case.loss,
        loss_weights=case.weights,
        metrics=case.metrics,
        weighted_metrics=case.weighted,
        run_eagerly=True,
    )
    options = {"verbose": 0, "sample_weight": case.sample_weight, "batch_size": BATCH_SIZE}
    history = model.fit(case.x, case.y, epochs=EPOCHS, shuffle=False, **options).history
    return history, model.evaluate(case.x, case.y, return_dict=True, **options), model


@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")
@pytest.mark.parametrize("name", soak_except(*QUICK, names=CASES))
def test_each_number_is_that_of_keras(name):
    case = CASES[name]
    expected, evaluated, model = keras_of(case)
    trainer = trainer_of(case)
    history = trainer.fit(data_of(case), batch_size=BATCH_SIZE, epochs=EPOCHS, shuffle=False)
    found = trainer.evaluate(data_of(case), batch_size=BATCH_SIZE)
    extra = RENAMED.get(name, {})
    assert set(found) - set(extra) == set(evaluated)
    for result in expected:
        if not extra:
            np.testing.assert_allclose([x[result] for x in history], expected[result], rtol=2e-6)
            np.testing.assert_allclose(found[result], evaluated[result], rtol=2e-6)
    np.testing.assert_allclose([x["loss"] for x in history], expected["loss"], rtol=1e-6)
    for ours, theirs in zip(trainer.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


def housing(dtype):
    """California housing as the inputs and the targets of the wide and deep network."""
    train = tl.data.load_dataset("california_housing").train
    x = (train.x - train.x.mean(0)) / train.x.std(0)
    x, y = x.astype(dtype)[:9000], train.y.astype(dtype)[:9000, None]
    return (x[:, :5], x[:, 2:]), {"main": y, "aux": y}


@pytest.mark.soak
@pytest.mark.parametrize("execution", ["graph", "xla", "xla_update"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["functional", "subclassed"])
def test_wide_and_deep_learns_housing_as_in_keras(kind, dtype, execution):
    x, y = housing(dtype)

    def build():
        keras.utils.set_random_seed(1)
        if kind == "subclassed":
            model = WideDeep(dtype=dtype)
            model((x[0][:2], x[1][:2]))
            return model
        a, b = keras.Input((5,), dtype=dtype), keras.Input((6,), dtype=dtype)
        deep = L.Dense(30, "relu")(L.Dense(30, "relu")(b))
        main = L.Dense(1, name="main")(L.Concatenate()([a, deep]))
        return keras.Model((a, b), (main, L.Dense(1, name="aux")(deep)))

    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        model, ours = build(), build()
        loss, weights = {"main": "mse", "aux": "mse"}, {"main": 0.9, "aux": 0.1}
        metrics = {"main": ["mae"], "aux": ["mae", "mse"]}
        model.compile(keras.optimizers.SGD(1e-2), loss, loss_weights=weights, metrics=metrics)
        given = y if kind == "subclassed" else (y["main"], y["aux"])
        options = {"batch_size": 30, "epochs": 1, "shuffle": False, "verbose": 0}
        expected = model.fit(x, given, **options).history
        trainer = tl.Trainer(
            ours, loss, tl.sgd(1e-2), loss_weights=weights, metrics=metrics, execution=execution
        )
        found = trainer.fit((x, y), **options)[0]
        assert {*expected} <= {*found}
        tolerance = 1e-6 if dtype == "float32" else 1e-12
        for name, (value,) in expected.items():
            assert found[name] == pytest.approx(value, rel=tolerance), name
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("y", [NUMBERS, {"out": NUMBERS}], ids=["one array", "by name"])
def test_a_dict_of_one_output_takes_one_loss(y):
    def build():
        inputs = keras.Input((3,))
        return keras.Model(inputs, {"out": L.Dense(1, kernel_initializer="ones")(inputs)})

    model, options = build(), {"batch_size": BATCH_SIZE, "shuffle": False, "verbose": 0}
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    expected = model.fit(A, y, **options).history["loss"]
    trainer = tl.Trainer(build(), "mse", tl.sgd(0.1), execution="graph")
    history = trainer.fit((A, y), epochs=1, **options)
    assert history[0]["loss"] == pytest.approx(expected[0], rel=1e-6)


@pytest.mark.parametrize(
    "loss", ["mse", keras.losses.MeanSquaredError(), keras.losses.mean_squared_error]
)
@pytest.mark.parametrize(
    ("join", "message"),
    [
        (dict, "returns the outputs main, aux: give one for each of them, as in {'main': '"),
        (list, "returns 2: give one for each of them, as in \\['"),
    ],
)
def test_one_loss_of_a_subclassed_model_names_what_to_give(loss, join, message):
    trainer = tl.Trainer(subclassed(join)(), loss, tl.sgd(0.1), execution="graph")
    y = {"main": NUMBERS[:2], "aux": NUMBERS[:2]} if join is dict else [NUMBERS[:2]] * 2
    with pytest.raises(ValueError, match=message):
        trainer.evaluate(((A[:2], B[:2]), y), batch_size=2)


def test_a_metric_of_one_output_is_refused_beside_a_custom_loss_of_all():
    def loss(y, outputs):
        return tf.reduce_sum(tf.add_n([(a - b) ** 2 for a, b in zip(y, outputs, strict=True)]), -1)

    trainer = tl.Trainer(subclassed(list)(), loss, tl.sgd(0.1), metrics=["mae"], execution="graph")
    with pytest.raises(ValueError, match="metric mae: .* returns 2: give one for each"):
        trainer.evaluate(((A[:2], B[:2]), [NUMBERS[:2]] * 2), batch_size=2)

"""Several inputs and outputs; subclassed, nested, shared and frozen models."""

from __future__ import annotations

import keras
from keras import layers

import trainlib as tl
from helpers.keras_models.table import CLASSES, NUMBERS, ROWS, SEQUENCES, TOKENS, model, stack


def error_and_crossentropy(y_true, y_pred):
    """The sum of the losses of a number and of a class."""
    number = tl.losses.mean_squared_error(y_true["number"], y_pred["number"])
    return number + tl.losses.sparse_categorical_crossentropy(y_true["class"], y_pred["class"])


def two_errors(y_true, y_pred):
    """The sum of the mean squared and the mean absolute error of two numbers."""
    first = tl.losses.mean_squared_error(y_true[0], y_pred[0])
    return first + tl.losses.mean_absolute_error(y_true[1], y_pred[1])


@model({"row": ROWS, "sequence": SEQUENCES}, NUMBERS)
def inputs_by_name():
    row, sequence = keras.Input((4,), name="row"), keras.Input((5, 3), name="sequence")
    joined = layers.Concatenate()([row, layers.Flatten()(sequence)])
    return keras.Model({"row": row, "sequence": sequence}, layers.Dense(1)(joined))


@model([ROWS, ROWS[:, ::-1].copy()], NUMBERS)
def a_layer_shared_by_two_inputs():
    first, second = keras.Input((4,)), keras.Input((4,))
    shared = layers.Dense(3, activation="tanh")
    return keras.Model([first, second], layers.Dot(1)([shared(first), shared(second)]))


@model([ROWS, SEQUENCES], NUMBERS)
def wide_and_deep():
    wide, deep = keras.Input((4,)), keras.Input((5, 3))
    hidden = layers.Dense(4, activation="relu")(layers.Flatten()(deep))
    return keras.Model([wide, deep], layers.Dense(1)(layers.Concatenate()([wide, hidden])))


@model(
    ROWS,
    {"number": NUMBERS, "class": CLASSES},
    loss={"number": "mean_squared_error", "class": "sparse_categorical_crossentropy"},
    ours=error_and_crossentropy,
)
def outputs_by_name():
    inputs = keras.Input((4,))
    hidden = layers.Dense(5, activation="tanh")(inputs)
    classes = layers.Dense(3, activation="softmax")(hidden)
    return keras.Model(inputs, {"number": layers.Dense(1)(hidden), "class": classes})


@model(
    SEQUENCES,
    [NUMBERS, -NUMBERS],
    loss=["mean_squared_error", "mean_absolute_error"],
    ours=two_errors,
)
def a_list_of_outputs():
    inputs = keras.Input((5, 3))
    _, *states = layers.LSTM(4, return_state=True)(inputs)
    return keras.Model(inputs, [layers.Dense(1)(state) for state in states])


@keras.saving.register_keras_serializable("tests")
class Residual(keras.Model):
    """A model with a `call`, and with batch statistics."""

    def __init__(self, units=4, **options):
        super().__init__(**options)
        self.units = units
        self.norm = layers.BatchNormalization(name="norm")
        self.parts = [layers.Dense(units, activation="tanh", name=f"part_{k}") for k in range(2)]
        self.outputs_ = layers.Dense(1, name="last")

    def build(self, input_shape):
        self.norm.build(input_shape)
        for part in self.parts:
            part.build(input_shape)
        self.outputs_.build(input_shape)
        self.built = True

    def call(self, x, training=False):
        x = self.norm(x, training=training)
        for part in self.parts:
            x = x + part(x)
        return self.outputs_(x)

    def get_config(self):
        return super().get_config() | {"units": self.units}


@model(ROWS, NUMBERS)
def subclassed():
    made = Residual()
    made.build((None, 4))
    return made


@model(ROWS, NUMBERS)
def subclassed_and_built_by_a_call():
    made = Residual()
    made(ROWS[:2])
    return made


@model(ROWS, NUMBERS)
def nested_twice():
    inner = stack(layers.Dense(3, name="dense"), layers.BatchNormalization(), shape=(4,))
    middle = keras.Sequential([keras.Input((4,)), inner, layers.Dense(3, name="dense")])
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(1, name="dense")(middle(inputs)))


@model([ROWS, ROWS[::-1].copy()], NUMBERS)
def a_nested_model_shared_by_two_inputs():
    tower = stack(layers.Dense(4, activation="tanh"), layers.Dense(2), shape=(4,))
    first, second = keras.Input((4,)), keras.Input((4,))
    joined = layers.Subtract()([tower(first), tower(second)])
    return keras.Model([first, second], layers.Dense(1)(joined))


@model(ROWS, NUMBERS)
def a_subclassed_model_within_another():
    body = Residual(name="body")
    return keras.Sequential([keras.Input((4,)), body, layers.Dense(1)])


@model({"tokens": TOKENS, "numbers": ROWS}, NUMBERS)
def inputs_of_several_dtypes():
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    numbers = keras.Input((4,), name="numbers")
    seen = layers.GlobalAveragePooling1D()(layers.Embedding(12, 3)(tokens))
    joined = layers.Concatenate()([seen, numbers])
    return keras.Model({"tokens": tokens, "numbers": numbers}, layers.Dense(1)(joined))


@keras.saving.register_keras_serializable("tests")
class Parts(layers.Layer):
    """A layer that returns a tuple, and keeps its layers in a dict and a metric in an attribute."""

    def __init__(self, **options):
        super().__init__(**options)
        self.parts = {name: layers.Dense(3, name=name) for name in ("first", "second")}
        self.activity = keras.metrics.Mean(name="activity")

    def build(self, input_shape):
        for part in self.parts.values():
            part.build(input_shape)

    def call(self, x):
        first, second = (part(x) for part in self.parts.values())
        self.activity.update_state(keras.ops.mean(first))
        return first, {"second": second}


@model(ROWS, NUMBERS)
def a_layer_of_several_values():
    inputs = keras.Input((4,))
    first, others = Parts()(inputs)
    return keras.Model(inputs, layers.Dense(1)(layers.Multiply()([first, others["second"]])))


@model(ROWS, NUMBERS)
def frozen_body():
    body = stack(layers.Dense(4, activation="tanh"), layers.BatchNormalization(), shape=(4,))
    body.trainable = False
    return keras.Sequential([keras.Input((4,)), body, layers.Dense(1)])


@model(ROWS, NUMBERS)
def frozen_batch_statistics_and_kernel():
    norm, dense = layers.BatchNormalization(), layers.Dense(4)
    norm.trainable = dense.trainable = False
    return stack(dense, norm, layers.Dense(1), shape=(4,))

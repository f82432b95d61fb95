"""Recurrent layers, stateful ones, and masks."""

from __future__ import annotations

import keras
from keras import layers

from helpers.keras_models.table import (
    CLASSES,
    NUMBERS,
    PADDED,
    SEQUENCES,
    STEPS,
    TAGS,
    TOKENS,
    model,
    stack,
)

CROSSENTROPY = "sparse_categorical_crossentropy"
FIXED = {"batch_size": 5}
"""Stateful layers need whole batches: four of the first 20 examples."""


@model(SEQUENCES, NUMBERS)
def simple_rnn():
    return stack(layers.SimpleRNN(4), layers.Dense(1), shape=(5, 3))


@model(SEQUENCES, NUMBERS)
def lstm():
    return stack(layers.LSTM(4), layers.Dense(1), shape=(None, 3))


@model(SEQUENCES, NUMBERS)
def gru_with_the_reset_before():
    return stack(layers.GRU(4, reset_after=False), layers.Dense(1), shape=(5, 3))


@model(SEQUENCES, STEPS)
def bidirectional_steps():
    dense = layers.TimeDistributed(layers.Dense(1))
    return stack(layers.Bidirectional(layers.GRU(3, return_sequences=True)), dense, shape=(None, 3))


@model(SEQUENCES, NUMBERS)
def stacked_cells():
    cells = [layers.LSTMCell(4), layers.GRUCell(3)]
    return stack(layers.RNN(cells), layers.Dense(1), shape=(5, 3))


@model(SEQUENCES.reshape(-1, 5, 3, 1, 1), NUMBERS)
def convolutional_lstm():
    recurrent = layers.ConvLSTM2D(2, 2, padding="same")
    return stack(recurrent, layers.Flatten(), layers.Dense(1), shape=(5, 3, 1, 1))


@model({"source": SEQUENCES, "target": SEQUENCES[:, ::-1]}, STEPS)
def encoder_and_decoder():
    source, target = keras.Input((None, 3), name="source"), keras.Input((None, 3), name="target")
    _, *states = layers.LSTM(4, return_state=True)(source)
    decoded = layers.LSTM(4, return_sequences=True)(target, initial_state=states)
    return keras.Model({"source": source, "target": target}, layers.Dense(1)(decoded))


@model(SEQUENCES[:20], NUMBERS[:20], **FIXED)
def stateful_lstm():
    inputs = keras.Input(batch_shape=(5, 5, 3))
    return keras.Sequential([inputs, layers.LSTM(4, stateful=True), layers.Dense(1)])


@model(SEQUENCES[:20], NUMBERS[:20], **FIXED)
def stateful_in_both_directions():
    inputs = keras.Input(batch_shape=(5, 5, 3))
    both = layers.Bidirectional(layers.GRU(3, stateful=True))
    return keras.Sequential([inputs, both, layers.Dense(1)])


@model(SEQUENCES[:20], STEPS[:20], **FIXED)
def stateful_layers_that_return_sequences():
    inputs = keras.Input(batch_shape=(5, 5, 3))
    recurrent = [
        layers.GRU(3, stateful=True, return_sequences=True),
        layers.SimpleRNN(3, stateful=True, return_sequences=True),
    ]
    return keras.Sequential([inputs, *recurrent, layers.Dense(1)])


@model(PADDED, NUMBERS)
def masked_lstm():
    return stack(layers.Masking(), layers.LSTM(4), layers.Dense(1), shape=(5, 3))


@model(TOKENS, CLASSES, loss=CROSSENTROPY)
def masked_tokens():
    embedding = layers.Embedding(12, 4, mask_zero=True)
    recurrent = layers.Bidirectional(layers.LSTM(3))
    return stack(embedding, recurrent, layers.Dense(3, activation="softmax"), shape=(None,))


@model(TOKENS, TAGS, loss=CROSSENTROPY)
def mask_that_reaches_the_output():
    embedding = layers.Embedding(12, 4, mask_zero=True)
    recurrent = layers.LSTM(5, return_sequences=True)
    return stack(embedding, recurrent, layers.Dense(3, activation="softmax"), shape=(None,))


@model(TOKENS, CLASSES, loss=CROSSENTROPY)
def masked_mean_of_embeddings():
    embedding = layers.Embedding(12, 4, mask_zero=True)
    pooled = layers.GlobalAveragePooling1D()
    return stack(embedding, pooled, layers.Dense(3, activation="softmax"), shape=(None,))

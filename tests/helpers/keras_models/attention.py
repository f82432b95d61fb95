"""Attention and transformer blocks."""

from __future__ import annotations

import keras
from keras import layers, ops

from helpers.keras_models.table import CLASSES, NUMBERS, SEQUENCES, STEPS, TAGS, TOKENS, model


@model(SEQUENCES, NUMBERS)
def self_attention():
    inputs = keras.Input((None, 3))
    seen = layers.MultiHeadAttention(2, 4)(inputs, inputs)
    return keras.Model(inputs, layers.Dense(1)(layers.GlobalAveragePooling1D()(seen)))


@model(SEQUENCES, STEPS)
def causal_attention():
    inputs = keras.Input((5, 3))
    seen = layers.MultiHeadAttention(1, 4)(inputs, inputs, use_causal_mask=True)
    return keras.Model(inputs, layers.Dense(1)(seen))


@model(SEQUENCES, STEPS)
def grouped_queries():
    inputs = keras.Input((5, 3))
    seen = layers.GroupQueryAttention(4, 4, 2)(inputs, inputs)
    return keras.Model(inputs, layers.Dense(1)(seen))


@model(TOKENS, CLASSES, loss="sparse_categorical_crossentropy")
def transformer_block():
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(12, 4, mask_zero=True)(inputs)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 2)(x, x))
    hidden = layers.Dense(4)(layers.Dense(8, activation="gelu")(x))
    x = layers.LayerNormalization()(x + hidden)
    pooled = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(pooled))


@keras.saving.register_keras_serializable("tests")
class TiedTokens(keras.Model):
    """Masked attention whose embedding makes the outputs too."""

    def __init__(self, **options):
        super().__init__(**options)
        self.embedding = layers.Embedding(12, 4, mask_zero=True, name="embedding")
        self.attention = layers.MultiHeadAttention(2, 2, name="attention")
        self.norm = layers.LayerNormalization(name="norm")

    def call(self, x):
        hidden = self.embedding(x)
        hidden = self.norm(hidden + self.attention(hidden, hidden, use_causal_mask=True))
        scores = ops.matmul(hidden, ops.transpose(self.embedding.embeddings))
        return ops.softmax(scores)


@model(TOKENS, TAGS, loss="sparse_categorical_crossentropy")
def embedding_tied_to_the_output():
    made = TiedTokens()
    made(TOKENS[:2])
    return made


@model([SEQUENCES, SEQUENCES[:, ::-1]], STEPS)
def attention_over_another_sequence():
    query, value = keras.Input((5, 3)), keras.Input((5, 3))
    seen = layers.Attention(use_scale=True)([query, value])
    more = layers.AdditiveAttention()([layers.Dense(3)(query), value])
    return keras.Model([query, value], layers.Dense(1)(layers.Concatenate()([seen, more])))

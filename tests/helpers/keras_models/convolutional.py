"""Convolutions, pooling, images as outputs."""

from __future__ import annotations

import keras
from keras import layers

from helpers.keras_models.table import CLASSES, IMAGES, NUMBERS, SEQUENCES, model, stack

HALVES = IMAGES[:, ::2, ::2]


@model(SEQUENCES, NUMBERS)
def convolution_over_time():
    causal = layers.Conv1D(4, 2, padding="causal", activation="relu")
    return stack(causal, layers.GlobalMaxPooling1D(), layers.Dense(1), shape=(5, 3))


@model(IMAGES, CLASSES, loss="sparse_categorical_crossentropy")
def convolution_and_pooling():
    hidden = layers.Conv2D(4, 3, activation="relu", strides=2, padding="same")
    pooled = layers.MaxPooling2D(), layers.Flatten()
    return stack(hidden, *pooled, layers.Dense(3, activation="softmax"), shape=(6, 6, 2))


@model(IMAGES[..., None], NUMBERS)
def convolution_of_volumes():
    pooled = layers.AveragePooling3D(2), layers.Flatten()
    return stack(layers.Conv3D(2, 2, padding="same"), *pooled, layers.Dense(1), shape=(6, 6, 2, 1))


@model(IMAGES, NUMBERS)
def separable_convolutions():
    hidden = layers.DepthwiseConv2D(3, activation="relu"), layers.SeparableConv2D(4, 3)
    return stack(*hidden, layers.GlobalAveragePooling2D(), layers.Dense(1), shape=(6, 6, 2))


@model(HALVES, IMAGES)
def transposed_convolution_to_an_image():
    return stack(layers.Conv2DTranspose(2, 3, strides=2, padding="same"), shape=(3, 3, 2))


@model(IMAGES, IMAGES)
def images_through_a_bottleneck():
    inputs = keras.Input((None, None, 2))
    down = layers.Conv2D(3, 3, padding="same", activation="relu")(inputs)
    low = layers.Conv2D(4, 3, padding="same")(layers.MaxPooling2D()(down))
    joined = layers.Concatenate()([layers.UpSampling2D()(low), down])
    cropped = layers.ZeroPadding2D()(layers.Cropping2D(1)(joined))
    return keras.Model(inputs, layers.Conv2D(2, 1)(cropped))


@model(IMAGES, NUMBERS)
def residual_blocks_with_batch_statistics():
    x = inputs = keras.Input((6, 6, 2))
    for _ in range(2):
        y = layers.Conv2D(2, 3, padding="same", use_bias=False)(x)
        y = layers.Activation("relu")(layers.BatchNormalization(momentum=0.8)(y))
        x = layers.Add()([x, y])
    return keras.Model(inputs, layers.Dense(1)(layers.GlobalAveragePooling2D()(x)))

"""Keras: `Model.fit` on images that come in several ways."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from inputs import Feeding as Base
from workloads import ADAM, Workload, read_weights

from contenders.keras_nets import make_loss, make_model

SHUFFLED_BATCHES = 64
"""Number of batches among which examples of decoded files are shuffled."""


class Feeding(Base):
    """`Model.fit`, an epoch a call, without XLA, which makes convolutions slower on a CPU."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        of = self.workload
        self.model = make_scaled(of, read_weights(self.folder))
        optimizer = keras.optimizers.Adam(of.learning_rate, **ADAM)
        self.model.compile(optimizer, make_loss(of), jit_compile=False)

    def from_memory(self) -> Any:
        return self.x

    def from_mapped(self) -> Any:
        return self.mapped

    def from_pipeline(self) -> Any:
        return make_pipeline(self.x, self.y, self.workload.batch_size)

    def from_augmented(self) -> Any:
        """Return the pipeline with the same augmentation by Keras's layers, a batch at a time."""
        layers = keras.layers
        change = keras.Sequential(
            [
                layers.RandomFlip("horizontal"),
                layers.RandomRotation(0.1),
                layers.RandomZoom(0.1),
                layers.RandomContrast(0.1),
            ]
        )
        return make_pipeline(
            self.x, self.y, self.workload.batch_size, lambda x, y: (change(x, training=True), y)
        )

    def from_kept(self) -> Any:
        size = self.workload.batch_size
        cached = self._files(None).cache().shuffle(SHUFFLED_BATCHES * size)
        return cached.batch(size).prefetch(tf.data.AUTOTUNE)

    def from_decoded(self) -> Any:
        return self._files(self.workload.batch_size).prefetch(tf.data.AUTOTUNE)

    def _files(self, batch_size: int | None) -> Any:
        return keras.utils.image_dataset_from_directory(
            self.folder / "images",
            batch_size=batch_size,
            image_size=self.height_and_width,
            color_mode="grayscale" if self.workload.input_shape[-1] == 1 else "rgb",
            verbose=False,
        )

    def train(self, data: Any) -> None:
        if isinstance(data, np.ndarray):
            self.model.fit(data, self.y, batch_size=self.workload.batch_size, verbose=0)
        else:
            self.model.fit(data, verbose=0)

    def read(self, data: Any) -> None:
        if isinstance(data, np.ndarray):
            data = make_pipeline(data, self.y, self.workload.batch_size)
        for x, _ in data:
            x.numpy()


def make_scaled(of: Workload, weights: list[np.ndarray]) -> Any:
    """Return the workload's model for images with values from 0 to 255."""
    images = keras.Input(of.input_shape)
    scaled = keras.layers.Rescaling(1 / 127.5, -1)(images)
    return keras.Model(images, make_model(of, weights)(scaled))


def make_pipeline(x: np.ndarray, y: np.ndarray, size: int, change: Any = None) -> Any:
    """Return arrays as a `tf.data.Dataset` of batches, shuffled, and changed in several threads."""
    pipeline = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x)).batch(size)
    if change is not None:
        pipeline = pipeline.map(change, num_parallel_calls=tf.data.AUTOTUNE)
    return pipeline.prefetch(tf.data.AUTOTUNE)

"""The steps by hand: a `tf.while_loop` of tape, loss and update, in order and without metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from workloads import ADAM, LOSS_WEIGHTS

from contenders import base
from contenders.keras_nets import make_model


class Training(base.Training):
    """Training by a plain loop, as one would write it for this model alone.

    Args:
        compiled: whether XLA compiles the loop.
        adds_losses: whether the losses of the batches are added up, as their mean is the training
            loss. Default: False.
        **arguments: as of the base class.
    """

    def __init__(self, compiled: bool = True, adds_losses: bool = False, **arguments: Any) -> None:
        self.compiled, self.adds_losses = compiled, adds_losses
        super().__init__(**arguments)

    def build(self, weights: list[np.ndarray]) -> None:
        self.model = make_model(self.workload, weights)
        self.trained = [v.value for v in self.model.trainable_variables]
        self.made = 0
        if self.workload.optimizer == "adam":
            self.moments = [[tf.Variable(tf.zeros_like(w)) for w in self.trained] for _ in range(2)]
        compile_it = {"jit_compile": self.compiled, "autograph": False}
        self._train = tf.function(self._steps, **compile_it)
        self._losses = tf.function(self._loss_sum, **compile_it)

    def _steps(self, x: Any, y: Any, made: Any) -> Any:
        """Make a step on each batch, after `made` steps; return the sum of the losses, or 0."""
        size = min(self.workload.batch_size, _length(x))

        def body(at: Any, total: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = self._loss(self.model(_rows(x, at, size), training=True), _rows(y, at, size))
            gradients = map(tf.convert_to_tensor, tape.gradient(loss, self.trained))
            if self.workload.optimizer == "sgd":
                for w, g in zip(self.trained, gradients, strict=True):
                    w.assign_sub(self.workload.learning_rate * g)
            else:
                self._adam(gradients, tf.cast(made + at // size + 1, tf.float32))
            return at + size, total + loss if self.adds_losses else total

        return tf.while_loop(lambda at, _: at < _length(x), body, (0, 0.0))[1]

    def _adam(self, gradients: Any, step: Any) -> None:
        b1, b2 = ADAM["beta_1"], ADAM["beta_2"]
        rate = self.workload.learning_rate * tf.sqrt(1 - b2**step) / (1 - b1**step)
        for w, m, v, g in zip(self.trained, *self.moments, gradients, strict=True):
            new_m = m.assign(b1 * m + (1 - b1) * g)
            new_v = v.assign(b2 * v + (1 - b2) * tf.square(g))
            w.assign_sub(rate * new_m / (tf.sqrt(new_v) + ADAM["epsilon"]))

    def _loss_sum(self, x: Any, y: Any) -> Any:
        """Return the sum of the losses of the batches."""
        size = min(base.EVALUATION_BATCH, _length(x))

        def body(at: Any, total: Any) -> Any:
            y_pred = self.model(_rows(x, at, size), training=False)
            return at + size, total + self._loss(y_pred, _rows(y, at, size))

        return tf.while_loop(lambda at, _: at < _length(x), body, (0, 0.0))[1]

    def _loss(self, y_pred: Any, y: Any) -> Any:
        """Return the mean loss of a batch, weighted over the outputs where there are several."""
        if self.workload.classes:
            of_each = tf.nn.sparse_softmax_cross_entropy_with_logits(y, y_pred)
            return tf.reduce_mean(of_each)
        if isinstance(y, dict):
            of = {name: tf.reduce_mean(tf.square(y_pred[name] - y[name])) for name in y}
            return sum(weight * of[name] for name, weight in LOSS_WEIGHTS.items())
        return tf.reduce_mean(tf.square(y_pred - y))

    def place(self, x: np.ndarray, y: np.ndarray) -> Any:
        return self._parts(x, y, self.workload.batch_size)

    def place_evaluation(self, x: np.ndarray, y: np.ndarray) -> Any:
        return self._parts(x, y, base.EVALUATION_BATCH)

    def _parts(self, x: np.ndarray, y: np.ndarray, size: int) -> Any:
        """Return the whole batches, then a smaller last one."""
        whole = len(x) // size * size
        parts = [(x[:whole], y[:whole]), (x[whole:], y[whole:])]
        of = self.workload
        return [
            tf.nest.map_structure(tf.constant, of.structured(*part))
            for part in parts
            if len(part[0])
        ]

    def train(self, data: Any) -> float | None:
        total, before = 0.0, self.made
        for part in data:
            total += self._train(*part, tf.constant(self.made))
            self.made += -(-_length(part) // self.workload.batch_size)
        self.trained[0].numpy()
        return float(total) / (self.made - before) if self.adds_losses else None

    def evaluate(self, data: Any) -> float:
        """Return the loss over the data."""
        sums = [self._losses(*part) for part in data]
        rows = [_length(part) for part in data]
        total = sum(
            float(x) * min(n, base.EVALUATION_BATCH) for x, n in zip(sums, rows, strict=True)
        )
        return total / sum(rows)

    def steps_made(self) -> int:
        return self.made


def _rows(a: Any, at: Any, size: int) -> Any:
    """Return `size` rows of each array of a structure from a position on."""

    def slice_one(a: Any) -> Any:
        return tf.slice(a, [at, *[0] * (a.shape.rank - 1)], [size, *a.shape[1:]])

    return tf.nest.map_structure(slice_one, a)


def _length(a: Any) -> int:
    """Return the number of rows of the arrays of a structure."""
    return int(tf.nest.flatten(a)[0].shape[0])

"""`Inference`: evaluation and prediction, as `Trainer` and `Evaluator` have them."""

from __future__ import annotations

from collections import deque
from typing import Any

from trainlib.core.types import Tree
from trainlib.training.callback import Results
from trainlib.training.context import TrainingContext
from trainlib.training.data_adapter import Data
from trainlib.training.evaluation import (
    EVALUATION_BATCH_SIZE,
    evaluate_batches,
    predict_batches,
)
from trainlib.training.sources import EpochLength


class Inference:
    """A model that can be evaluated and that predicts.

    Attributes:
        context: the compiled programs, the execution and the reader of results.
    """

    context: TrainingContext

    def evaluate(
        self, data: Data, batch_size: int | None = None, *, steps: int | None = None
    ) -> Results:
        """Return the loss and the metrics over the data, the model in inference mode.

        Args:
            data: arrays (x, y) or (x, y, sample_weight), or a source of batches of these.
            batch_size: examples per batch, at least 1, for arrays only. Default: None, 512.
            steps: number of batches to take, at least 1. A source that never ends needs it.
                Default: None, all.

        Returns:
            The results by name: numbers, and nested lists for metrics of several values.

        Raises:
            TypeError: an argument has the wrong type.
            ValueError: an argument is out of range, the data are malformed or have fewer batches
                than `steps`, or there is no loss.
        """
        context = self.context
        context.read_model()
        adapter = context.adapt(
            "data", data, batch_size, default=EVALUATION_BATCH_SIZE, length=_taken(steps)
        )
        context.reset_model_metrics()
        try:
            execution = context.inference_execution
            (states,) = deque(evaluate_batches(context.programs, execution, adapter), maxlen=1)
        finally:
            context.write_model()
        return context.model_metrics() | context.results.results(states)

    def predict(self, x: Any, batch_size: int | None = None, *, steps: int | None = None) -> Tree:
        """Return the predictions for x, the model in inference mode.

        Args:
            x: an array, or a structure of arrays, of inputs; or a source of batches: a
                `tf.data.Dataset`, a generator, another iterable that is not a list or a tuple of
                arrays, or a function that returns one. A batch is x, (x, y) or (x, y,
                sample_weight); only x is used.
            batch_size: examples per batch, at least 1, for arrays only. Default: None, 512.
            steps: number of batches to take, at least 1. A source that never ends needs it.
                Default: None, all.

        Returns:
            A NumPy array with a prediction per example; for a model with several outputs, such
            arrays in the structure of the outputs: a dict, a list or a tuple.

        Raises:
            TypeError: an argument has the wrong type.
            ValueError: an argument is out of range, the inputs are malformed or have fewer batches
                than `steps`, or predictions of two batches differ in their inner shape.
        """
        self.context.read_model()
        adapter = self.context.adapt_inputs(
            x, batch_size, default=EVALUATION_BATCH_SIZE, length=_taken(steps)
        )
        try:
            context = self.context
            return predict_batches(context.programs, context.inference_execution, adapter)
        finally:
            self.context.write_model()


def _taken(steps: int | None) -> EpochLength:
    """Return the argument `steps` as the number of batches to take."""
    return EpochLength(steps, "steps", continues=False)

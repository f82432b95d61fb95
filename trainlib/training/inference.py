"""`Inference`: evaluation and prediction, as `Trainer` and `Evaluator` have them."""

from __future__ import annotations

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


class Inference:
    """A model that can be evaluated and that predicts.

    Attributes:
        context: the compiled programs, the execution and the reader of results.
    """

    context: TrainingContext

    def evaluate(self, data: Data, batch_size: int | None = None) -> Results:
        """Return the loss and the metrics over the data, the model in inference mode.

        Args:
            data: arrays (x, y) or (x, y, sample_weight), or a source of batches of these.
            batch_size: examples per batch, at least 1, for arrays only. Default: None, 512.

        Returns:
            The results by name: numbers, and nested lists for metrics of several values.

        Raises:
            TypeError: an argument has the wrong type.
            ValueError: an argument is out of range, the data are malformed, or there is no loss.
        """
        adapter = self.context.adapt("data", data, batch_size, default=EVALUATION_BATCH_SIZE)
        *_, states = evaluate_batches(self.context.programs, self.context.execution, adapter)
        return self.context.results.results(states)

    def predict(self, x: Any, batch_size: int = EVALUATION_BATCH_SIZE) -> Tree:
        """Return the predictions for x, the model in inference mode.

        Args:
            x: array, or structure of arrays, of inputs.
            batch_size: examples per batch, at least 1. Default: 512.

        Returns:
            A NumPy array with a prediction per example.
        """
        return predict_batches(self.context.programs, self.context.execution, x, batch_size)

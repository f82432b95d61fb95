"""`Ensemble`: several Keras models as one, with their weights and the kind of their average."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trainlib.core.checks import check_choice
from trainlib.tools.ensemble_model import ensemble_model
from trainlib.tools.ensembling import SimplexWeights, greedy_selection, simplex_weights
from trainlib.training.callback import Results
from trainlib.training.evaluator import Evaluator
from trainlib.training.model_ending import final_activation

FITS = {"simplex": simplex_weights, "greedy": greedy_selection}
"""How weights are fitted, by name."""
LIKELIHOODS = {"softmax": "crossentropy", "sigmoid": "binary_crossentropy"}
"""Loss for fitting weights, by the activation of the models; for others the squared error."""


@dataclass(frozen=True)
class Ensemble:
    """Several Keras models with the same inputs and output, whose average is used as one model.

        probabilities   f = sum of w_i f_i
        logits          f = softmax(sum of w_i log f_i)

    Args:
        members: trained Keras models with the same inputs and one output.
        weights: w, a number of at least 0 for each, divided by their sum. Default: None, all equal.
        average: "probabilities", which is also for models that predict numbers, or "logits".
            Default: "probabilities".

    Raises:
        ValueError: no members, members with different inputs, outputs or activations, or an average
            of logits of models that do not end in a softmax or sigmoid.

    Example:
        >>> members = [tl.models.mlp((4,), 3, "softmax", hidden=()) for _ in range(2)]
        >>> ensemble = tl.Ensemble(members)
        >>> x = np.ones([8, 4], "float32")
        >>> bool(np.allclose(ensemble.predict(x), (members[0](x) + members[1](x)) / 2, atol=1e-6))
        True
        >>> y = np.zeros(8, "int32")
        >>> sorted(ensemble.evaluate((x, y), "sparse_categorical_crossentropy", ["accuracy"]))
        ['accuracy', 'loss']
        >>> fitted = ensemble.fit_weights((x, y))
        >>> round(sum(fitted.weights), 6)
        1.0

    References:
        Hansen and Salamon 1990, "Neural Network Ensembles"; Lakshminarayanan et al. 2017, "Simple
        and Scalable Predictive Uncertainty Estimation Using Deep Ensembles".
    """

    members: Sequence[Any]
    weights: Sequence[float] | None = None
    average: str = "probabilities"

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(self.members))
        if self.weights is not None:
            object.__setattr__(self, "weights", tuple(map(float, self.weights)))
        _ = self.model  # which checks the members

    @functools.cached_property
    def model(self) -> Any:
        """The average as a Keras model.

        It shares the variables of the members. It consists of layers and operations of Keras only,
        and can be saved, loaded and used without trainlib. Members of weight 0 are left out.
        """
        return ensemble_model(self.members, self.weights, self.average)

    def predict(self, x: Any) -> np.ndarray:
        """Return the predictions of the average, as for `tl.Evaluator.predict`."""
        return np.asarray(Evaluator(self.model).predict(x))

    def predict_members(self, x: Any) -> np.ndarray:
        """Return the predictions of each member, [M, N, K], as `tl.ensemble_gain` takes them."""
        found = [Evaluator(m, execution="graph").predict(x) for m in self.members]
        return np.stack([np.reshape(f, [len(f), -1]) for f in found])

    def evaluate(self, data: Any, loss: Any, metrics: Any = ()) -> Results:
        """Return the loss and the metrics of the average.

        Args:
            data: arrays (x, y) or (x, y, sample_weight), or a source of batches of these.
            loss: as for `tl.Evaluator`.
            metrics: as for `tl.Evaluator`. Default: none.
        """
        return Evaluator(self.model, loss, metrics=metrics).evaluate(data)

    def fit_weights(self, data: Any, method: str = "simplex") -> Ensemble:
        """Return the ensemble with weights fitted to data that no member was trained on.

        They are fitted by the cross-entropy of models that end in a softmax or a sigmoid, by the
        squared error of others.

        Args:
            data: arrays (x, y); y are class indices, one-hot rows or numbers.
            method: "simplex", by `tl.simplex_weights`, or "greedy", by `tl.greedy_selection`.
                Default: "simplex".

        Raises:
            ValueError: an unknown method, or targets of another shape.
        """
        check_choice("method", method, tuple(FITS))
        x, y = data
        loss = LIKELIHOODS.get(str(final_activation(self.members[0])), "squared_error")
        fit: SimplexWeights = FITS[method](
            self.predict_members(x), y, average=self.average, loss=loss
        )
        return replace(self, weights=tuple(map(float, fit.weights)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the average as a `.keras` file, which `keras.saving.load_model` loads."""
        self.model.save(path)

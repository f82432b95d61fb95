"""`LossByOutput`: the weighted sum of a loss for each output; a check that there is one only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainlib.core.checks import check_number
from trainlib.losses.inputs import Loss


@dataclass(frozen=True)
class LossByOutput:
    """The loss of a model of several outputs, in the place of a function in `StepConfig`.

        L = sum_k a_k L_k

    where L_k is the mean loss of output k over the batch, with its own sample weights and mask. In
    a batch (x, y) or (x, y, sample_weight), y is then a mapping from the names of the outputs that
    have a loss or metrics to their targets; sample_weight is one tensor for all of them, or such a
    mapping.

    `accumulate` gives a micro-batch one weight for all outputs, so that its update is approximate
    where outputs have masks or different sample weights.

    Attributes:
        losses: by the name of each output, in the order in which `tf.nest.flatten` gives the
            outputs; None for an output without a loss.
        weights: a_k by name, numbers. Default: 1 for each.
        by_order: whether the names stand for the positions in a list or a tuple of outputs. False:
            a name is the path of an output in their structure, such as the key in a dict. Default:
            False.

    Raises:
        ValueError: no output has a loss, or a weight is for an output without one.
        TypeError: a weight is not a number.

    Example:
        >>> loss = tl.losses.LossByOutput(
        ...     {"main": tl.losses.mean_squared_error, "aux": tl.losses.mean_squared_error},
        ...     weights={"main": 0.9, "aux": 0.1}, by_order=True)
        >>> config = tl.StepConfig(lambda w, state, x, training: tl.ModelOutput([x, w * x]), loss)
        >>> state = tl.init_state(tf.constant(2.0), (), None)
        >>> zeros = tf.zeros([4, 1])
        >>> batch = tf.ones([4, 1]), {"main": zeros, "aux": zeros}
        >>> states = tl.eval_step(config)(state, batch)
        >>> {name: round(float(state.compute()), 3) for name, state in states.items()}
        {'loss': 1.3, 'main_loss': 1.0, 'aux_loss': 4.0}
    """

    losses: Mapping[str, Loss | None]
    weights: Mapping[str, float] = field(default_factory=dict)
    by_order: bool = False

    def __post_init__(self) -> None:
        if not self.trained:
            raise ValueError("loss must have a loss for at least one output")
        for name, weight in self.weights.items():
            if name not in self.trained:
                raise ValueError(f"loss_weights has a weight for {name!r}, which has no loss")
            check_number(f"the weight of {name!r} in loss_weights", weight)

    @property
    def trained(self) -> dict[str, Loss]:
        """The losses by output, without the outputs that have none."""
        return {name: loss for name, loss in self.losses.items() if loss is not None}

    def weight(self, name: str) -> float:
        """Return the weight of an output's loss."""
        return float(self.weights.get(name, 1.0))

    @property
    def result_names(self) -> dict[str, str]:
        """The names of the results by output, such as "main_loss"; {} where one has a loss."""
        trained = self.trained
        return {name: f"{name}_loss" for name in trained} if len(trained) > 1 else {}


def check_one_output(name: str, y_pred: Any) -> None:
    """Raise `ValueError` if a loss or a metric of one output is given those of several.

    TensorFlow would make one tensor of a list of outputs.

    Args:
        name: name of the function.
        y_pred: what the model returns.
    """
    if isinstance(y_pred, Mapping):
        names = list(map(str, y_pred))
        what, example = f"the outputs {', '.join(names)}", dict.fromkeys(names, name)
        raise ValueError(
            f"{name} is of one output, but the model returns {what}: give one for each of them, as "
            f"in {example}, None for none"
        )
    if isinstance(y_pred, (list, tuple)):
        raise ValueError(
            f"{name} is of one output, but the model returns {len(y_pred)}: give one for each of "
            f"them, as in {[name] * len(y_pred)}, None for none"
        )

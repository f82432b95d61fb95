"""`Evaluator`: evaluates a model and predicts, without an optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from trainlib.core.checks import check_choice
from trainlib.step.state import StepConfig
from trainlib.training.context import TrainingContext
from trainlib.training.execution import EXECUTIONS, needs_xla
from trainlib.training.functional_model import FunctionalModel, as_functional_model
from trainlib.training.inference import Inference
from trainlib.training.keyword_options import settings_from, show_options
from trainlib.training.model_link import (
    ModelLink,
    check_evaluation_steps,
    stateful_layer,
)
from trainlib.training.objectives import (
    Losses,
    Objective,
    objective_for_model,
)
from trainlib.training.options import EvaluatorSettings
from trainlib.training.programs import Programs, state_before_first_step
from trainlib.training.replicas import devices_for
from trainlib.training.resolve import (
    Metrics,
    restrict_regularizer,
)
from trainlib.training.results import ResultsReader

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trainlib.training.options import EvaluatorOptions


class Evaluator(Inference):
    """Evaluates a model and predicts, on one device and without an optimizer.

    The results are those of a `Trainer` with the same arguments. Values that you assign to a Keras
    model between two calls are used by the next one.

    Args:
        model: a built Keras model, or a `FunctionalModel`.
        loss: as for `Trainer`; None for predictions only. Default: None.
        metrics: as for `Trainer`. Default: none.
        precision: as for `Trainer`. Default: None, the precision the model was built in.
        execution: "graph"; "xla", as for `Trainer`; "auto": a graph, except for "mixed_float16" on
            a CPU, where convolutions need XLA. Default: "auto".
        loss_weights: as for `Trainer`. Default: None, 1 for each output.
        from_logits: as for `Trainer`. Default: None, inferred from the model's last layer.
        regularizer: penalty that the loss includes, as for `Trainer`. Default: None.
        regularizer_mask: as for `Trainer`. Default: `tl.kernels`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or the model is not built; there is a loss, and the
            model defines `test_step` or `compute_loss`.

    Example:
        >>> def double(params, model_state, x, training):
        ...     return tl.ModelOutput(2 * x, model_state)
        >>> evaluator = tl.Evaluator(tl.FunctionalModel(double, {}), "mean_squared_error")
        >>> x = np.ones([4, 1], "float32")
        >>> evaluator.evaluate((x, x))
        {'loss': 1.0}
        >>> evaluator.predict(x)[0].tolist()
        [2.0]
    """

    @show_options(EvaluatorSettings)
    def __init__(
        self,
        model: Any,
        loss: Losses | None = None,
        *,
        metrics: Metrics = (),
        precision: str | None = None,
        execution: str = "auto",
        **options: Unpack[EvaluatorOptions],
    ) -> None:
        settings = settings_from(EvaluatorSettings, "Evaluator", options)
        if loss is not None:
            check_evaluation_steps(model)
        pure = as_functional_model(model, precision=precision)
        objective = Objective(_no_loss, {})
        if loss is not None:
            objective = objective_for_model(
                model, loss, metrics, settings.loss_weights, settings.from_logits
            )
        config = StepConfig(
            pure.apply_fn,
            objective.loss,
            metrics=objective.metrics,
            regularizer=restrict_regularizer(
                settings.regularizer, settings.regularizer_mask, pure.params
            ),
        )
        is_keras = not isinstance(model, FunctionalModel)
        state = state_before_first_step(config, pure)
        devices = devices_for(None, model, objective.loss)
        programs = Programs(devices, config, state, keeps_inference_state=is_keras)
        self.context = TrainingContext(
            programs,
            None,
            _execution(execution, model, precision),
            ResultsReader(programs),
            model=ModelLink(model, programs.variables) if is_keras else None,
            stateful=stateful_layer(model),
        )


def _execution(execution: str, model: Any, precision: str | None) -> str:
    """Return the execution that is given, which a run may have used before; "auto" is resolved."""
    check_choice("execution", execution, EXECUTIONS)
    if execution != "auto":
        return execution
    return "xla" if needs_xla(model, precision) else "graph"


def _no_loss(y_true: Any, y_pred: Any) -> tf.Tensor:
    """Raise: the loss function of an evaluator that only predicts."""
    raise ValueError("evaluate needs a loss: tl.Evaluator(model, loss)")

"""The pure training step.

averages: `averaged_weights`, the parameters that evaluation takes.
state: `TrainState`, `ModelOutput`, `StepConfig` and `init_state`.
masks: the masks of a model's outputs in losses and metrics.
output_parts: one output of a model of several, with its targets and weights.
objective: the loss of a batch for one output, and the metric states.
outputs: the loss of a batch for one output or several.
mixed_targets: the targets of mixed examples, and their loss and metrics.
gradients: `compute_gradients` and `reduce_gradients`.
update: `apply_gradients`.
repartition: a state for other trained parameters, as after a layer was unfrozen.
train: `train_step`, which composes these three.
evaluation: `eval_step` and `predict_step`.
finite_guard: skips steps that are not finite.
loss_scale: dynamic and static loss scales for float16.
precision: the dtypes of a model's arithmetic and of its parameters.
"""

from trainlib.step.averages import averaged_weights
from trainlib.step.evaluation import eval_step, predict_step
from trainlib.step.gradients import Gradients, compute_gradients, reduce_gradients
from trainlib.step.state import (
    NORMS,
    AllReduce,
    ApplyFn,
    Batch,
    MetricStates,
    ModelOutput,
    Observer,
    StepConfig,
    TrainState,
    init_state,
)
from trainlib.step.train import train_step
from trainlib.step.update import apply_gradients

__all__ = [
    "NORMS",
    "ApplyFn",
    "Batch",
    "Gradients",
    "MetricStates",
    "ModelOutput",
    "Observer",
    "AllReduce",
    "StepConfig",
    "TrainState",
    "apply_gradients",
    "averaged_weights",
    "compute_gradients",
    "eval_step",
    "init_state",
    "predict_step",
    "reduce_gradients",
    "train_step",
]

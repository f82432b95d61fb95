"""The pure training step: its state, loss scaling, precision policies, and the steps themselves."""

from trainlib.step.steps import (
    NORMS,
    ApplyFn,
    Batch,
    ModelOutput,
    Observer,
    Records,
    Reduce,
    TrainState,
    eval_step,
    gradient_step,
    init_state,
    predict_step,
    train_step,
)

__all__ = [
    "ApplyFn",
    "Batch",
    "ModelOutput",
    "NORMS",
    "Records",
    "Reduce",
    "TrainState",
    "Observer",
    "eval_step",
    "gradient_step",
    "init_state",
    "predict_step",
    "train_step",
]

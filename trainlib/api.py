"""The public names of trainlib."""

import trainlib.callbacks as callbacks
import trainlib.data as data
import trainlib.losses as losses
import trainlib.metrics as metrics
import trainlib.models as models
import trainlib.registry as registry
from trainlib.base import Optimizer, apply_updates
from trainlib.loop.stateless import Stateless
from trainlib.loop.trainer import Trainer
from trainlib.metrics import Mean
from trainlib.optimizers import adagrad, adam, adamax, adamw, nadam, rmsprop, sgd
from trainlib.regularizers import l1, l1_l2, l2
from trainlib.schedules import constant, cosine_decay, exponential_decay
from trainlib.step import (
    Forward,
    TrainState,
    eval_step,
    init_state,
    predict_step,
    train_step,
)
from trainlib.transforms import chain, clip_by_global_norm, clip_by_norm, clip_by_value

__all__ = [
    "Forward",
    "Mean",
    "Optimizer",
    "Stateless",
    "TrainState",
    "Trainer",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "apply_updates",
    "callbacks",
    "chain",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "constant",
    "cosine_decay",
    "data",
    "eval_step",
    "exponential_decay",
    "init_state",
    "l1",
    "l1_l2",
    "l2",
    "losses",
    "metrics",
    "models",
    "nadam",
    "predict_step",
    "registry",
    "rmsprop",
    "sgd",
    "train_step",
]

"""Transforms of gradients and updates; each is an `Optimizer`, to be composed by `chain`."""

from trainlib.transforms.accumulate import accumulate, flush
from trainlib.transforms.average import ema, ema_params
from trainlib.transforms.chain import chain
from trainlib.transforms.clip import (
    adaptive_clip,
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
)
from trainlib.transforms.constrain import constrain
from trainlib.transforms.decay import add_decayed_weights, with_weight_decay
from trainlib.transforms.gradients import add_noise, centralize, scale, scale_by_schedule
from trainlib.transforms.guard import apply_if_finite, zero_nans
from trainlib.transforms.inject import inject_hyperparams, set_hyperparams
from trainlib.transforms.mask import freeze, masked, partition
from trainlib.transforms.options import keras_options
from trainlib.transforms.rules import param_rules, rules_table
from trainlib.transforms.wrappers import lookahead, sam

__all__ = [
    "accumulate",
    "adaptive_clip",
    "add_decayed_weights",
    "add_noise",
    "apply_if_finite",
    "centralize",
    "chain",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "constrain",
    "with_weight_decay",
    "ema",
    "ema_params",
    "flush",
    "freeze",
    "inject_hyperparams",
    "keras_options",
    "lookahead",
    "masked",
    "param_rules",
    "partition",
    "rules_table",
    "sam",
    "scale",
    "scale_by_schedule",
    "set_hyperparams",
    "zero_nans",
]

"""Transforms of gradients and updates; each is an `Optimizer`, composed by `chain`.

accumulate: `accumulate`, one update for several micro-batches, and `flush`.
averages: `averaged_params`, the averages in the state of `ema` and `swa`.
chain: `chain`.
clip: `clip_by_value`, `clip_by_norm`, `clip_by_global_norm`, `adaptive_clip`.
constrain: `constrain`, constraints on parameters.
decay: `add_decayed_weights` and the forms of weight decay.
ema: `ema`, averages of the parameters that decay.
gradients: `scale`, `scale_by_schedule`, `centralize`, `add_noise`.
factory_arguments: the arguments of a factory that are held in the state, or are schedules.
inject: `inject_hyperparams` and `set_hyperparams`, hyperparameters in the state.
keras_options: `keras_options`, the options of every Keras optimizer.
lazy: `lazy`, updates of the rows of embeddings that a batch reads.
lookahead: `lookahead`.
mask: `masked`, `freeze`, `partition`, optimizers of some of the parameters.
nonfinite: `apply_if_finite`, `zero_nans`.
param_rules: `param_rules` and `rules_table`, hyperparameters by path.
rule_text: the parser of its rules.
sam: `sam`, sharpness-aware minimization.
states: selection between states and search in them.
swa: `swa`, averages of the parameters with equal weights.
"""

from trainlib.transforms.accumulate import accumulate, flush
from trainlib.transforms.averages import averaged_params
from trainlib.transforms.chain import chain
from trainlib.transforms.clip import (
    adaptive_clip,
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
)
from trainlib.transforms.constrain import constrain
from trainlib.transforms.decay import add_decayed_weights, with_weight_decay
from trainlib.transforms.ema import ema
from trainlib.transforms.gradients import add_noise, centralize, scale, scale_by_schedule
from trainlib.transforms.inject import inject_hyperparams, set_hyperparams
from trainlib.transforms.keras_options import keras_options
from trainlib.transforms.lazy import lazy
from trainlib.transforms.lookahead import lookahead
from trainlib.transforms.mask import freeze, masked, partition
from trainlib.transforms.nonfinite import apply_if_finite, zero_nans
from trainlib.transforms.param_rules import param_rules, rules_table
from trainlib.transforms.sam import sam
from trainlib.transforms.swa import swa

__all__ = [
    "accumulate",
    "adaptive_clip",
    "add_decayed_weights",
    "add_noise",
    "apply_if_finite",
    "averaged_params",
    "centralize",
    "chain",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "constrain",
    "ema",
    "flush",
    "freeze",
    "inject_hyperparams",
    "keras_options",
    "lazy",
    "lookahead",
    "masked",
    "param_rules",
    "partition",
    "rules_table",
    "sam",
    "scale",
    "scale_by_schedule",
    "set_hyperparams",
    "swa",
    "with_weight_decay",
    "zero_nans",
]

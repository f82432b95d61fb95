"""The parameters that Muon updates, and the optimizer of all others."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import tensorflow as tf

from trainlib.core.tree import paths, scalar
from trainlib.core.types import Optimizer, ScalarOrSchedule, Tensor, Tree, rate_at
from trainlib.optimizers.adam import adam
from trainlib.optimizers.nadam import nadam
from trainlib.transforms.decay import Mask


def scaled_rate(
    learning_rate: ScalarOrSchedule, ratio: float
) -> Callable[[Tensor], Tensor | float]:
    """Return the schedule that is a learning rate times a ratio."""

    def rate_after(step: Tensor) -> Tensor | float:
        rate = rate_at(learning_rate, step)
        return rate * (scalar(ratio, rate) if tf.is_tensor(rate) else ratio)

    return rate_after


def fallback(
    rate: ScalarOrSchedule,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    adam_form: str,
    nesterov: bool,
) -> Optimizer:
    """Return the optimizer of the parameters that Muon does not update."""
    if adam_form == "nesterov" and nesterov:
        return nadam(rate, beta_1, beta_2, epsilon, convention="optax")
    bias_form = "folded" if adam_form == "folded" else "corrected"
    return adam(rate, beta_1, beta_2, epsilon, bias_form=bias_form)


def label_parts(params: Tree, taken: Tree, excluded: Callable[[str], bool]) -> Tree:
    """Return "muon" for the matrices that Muon updates, "adam" for all other parameters."""

    def label(w: Tensor, path: str, is_taken: bool) -> str:
        is_muon = len(w.shape) == 2 and is_taken and not excluded(path)
        return "muon" if is_muon else "adam"

    return tf.nest.map_structure(label, params, paths(params), taken, check_types=False)


def is_excluded(patterns: Sequence[str], embeddings: bool, path: str) -> bool:
    """Return whether a pattern is found in a path, or it is the path of an embedding."""
    if embeddings and "embedding" in path.lower():
        return True
    return any(re.search(pattern, path) for pattern in patterns)


def mask_by_path(mask: Mask) -> Mask:
    """Return a mask for any part of the parameters: a structure becomes a function of the path."""
    if mask is None or callable(mask) or isinstance(mask, str):
        return mask
    taken = dict(zip(tf.nest.flatten(paths(mask)), tf.nest.flatten(mask), strict=True))
    return taken.__getitem__

"""Transforms of gradients and updates; each is an `Optimizer`, to be composed by `chain`."""

from trainlib.transforms.chain import chain
from trainlib.transforms.clip import clip_by_global_norm, clip_by_norm, clip_by_value
from trainlib.transforms.decay import decayed

__all__ = ["chain", "clip_by_global_norm", "clip_by_norm", "clip_by_value", "decayed"]

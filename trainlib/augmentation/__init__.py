"""Augmentation: random changes of training images.

`tl.Trainer(..., augment=...)` takes a function of examples and their keys, from which random
numbers are drawn: `fold_in` makes further keys of keys, and `uniform`, `normal`, `integers` and
`beta` draw from them.
"""

from trainlib.core.random import beta, fold_in, integers, normal, uniform
from trainlib.training.augmentation import Augmentation

__all__ = ["Augmentation", "beta", "fold_in", "integers", "normal", "uniform"]

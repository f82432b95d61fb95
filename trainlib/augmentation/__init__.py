"""Augmentation: random changes of training images.

`tl.Trainer(..., augment=tl.augmentation.chain(...))` applies them in each training step. `augment`
may also be a function of the examples and their keys (x, y, key). Random numbers are functions of
the keys: `uniform`, `normal`, `integers` and `beta` draw them, and `fold_in` derives further keys.

affine: geometric maps, and the warp that applies one.
boxes: boxes in images.
chain: several steps as one augmentation.
color: changes of the values of pixels.
geometric, pixels, mixing, randaugment: the steps.
names: the steps by name, and chains written as text.
steps: the type of a step.
"""

from trainlib.augmentation.chain import chain
from trainlib.augmentation.geometric import crop, flip, rotation, shear, translation, zoom
from trainlib.augmentation.mixing import cutmix, mixup
from trainlib.augmentation.names import AUGMENTATIONS, parse_chain
from trainlib.augmentation.pixels import (
    autocontrast,
    brightness,
    contrast,
    cutout,
    erasing,
    noise,
    saturation,
)
from trainlib.augmentation.randaugment import randaugment
from trainlib.augmentation.steps import Step
from trainlib.core.random import beta, fold_in, integers, normal, uniform
from trainlib.training.augmentation import Augmentation

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "Step",
    "autocontrast",
    "beta",
    "brightness",
    "chain",
    "contrast",
    "crop",
    "cutmix",
    "cutout",
    "erasing",
    "flip",
    "fold_in",
    "integers",
    "mixup",
    "noise",
    "normal",
    "parse_chain",
    "randaugment",
    "rotation",
    "saturation",
    "shear",
    "translation",
    "uniform",
    "zoom",
]

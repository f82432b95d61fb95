"""The optimizers, one file a family, each opening with its equations."""

from trainlib.optimizers.adagrad import adagrad
from trainlib.optimizers.adam import adam, adamw
from trainlib.optimizers.adamax import adamax
from trainlib.optimizers.nadam import nadam
from trainlib.optimizers.rmsprop import rmsprop
from trainlib.optimizers.sgd import sgd

__all__ = ["adagrad", "adam", "adamax", "adamw", "nadam", "rmsprop", "sgd"]

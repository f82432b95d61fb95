"""The dropout family: layers that add noise to activations in training, by name.

Keras draws random numbers from generators in the layers. Their states are part of the training
state: the numbers differ between steps and replicas, and a resumed run continues the sequence.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras

from trainlib.models.hints import hint


class Dropout(NamedTuple):
    """The dropout of a model.

    Attributes:
        rate: fraction of the units, in [0, 1); for "gaussian_noise" the standard deviation. 0 for
            none.
        kind: "dropout", "spatial", "gaussian", "gaussian_noise", "alpha", "stochastic_depth" or
            "drop_connect".
    """

    rate: float
    kind: str

    def layers(self, name: str, axes: int = 1) -> list[Any]:
        """Return the layer for activations with `axes` axes, as a list; [] for a rate of 0.

        The list is also empty for kinds that drop complete feature maps, blocks or weights.
        """
        if not self.rate or self.kind in ("spatial", "stochastic_depth", "drop_connect"):
            return []
        return [_layer(self.kind, self.rate, name, axes)]

    def spatial_layers(self, name: str, axes: int) -> list[Any]:
        """Return the layer that drops complete feature maps, as a list; [] for other kinds."""
        if not self.rate or self.kind != "spatial":
            return []
        return [_layer(self.kind, self.rate, name, axes)]

    def branch_layers(self, name: str, axes: int, position: float) -> list[Any]:
        """Return the layer that drops a residual branch, as a list; [] for other kinds.

        Args:
            name: name of the layer.
            axes: number of axes of an example.
            position: position of the block in the model, in (0, 1]; the rate is proportional to it.
        """
        if not self.rate or self.kind != "stochastic_depth":
            return []
        return [_layer(self.kind, self.rate * position, name, axes)]


def _layer(kind: str, rate: float, name: str, axes: int) -> Any:
    """Return a layer of the dropout family for activations with `axes` axes."""
    if kind == "spatial":
        kinds = {2: keras.layers.SpatialDropout1D, 3: keras.layers.SpatialDropout2D}
        return kinds[axes](rate, name=name)
    if kind == "stochastic_depth":
        return keras.layers.Dropout(rate, noise_shape=(None, *[1] * axes), name=name)
    named = {
        "dropout": keras.layers.Dropout,
        "gaussian": keras.layers.GaussianDropout,
        "gaussian_noise": keras.layers.GaussianNoise,
        "alpha": keras.layers.AlphaDropout,
    }
    return named[kind](rate, name=name)


def chosen_dropout(rate: float, kind: str, activation: str) -> Dropout:
    """Return the dropout of a model; warn of combinations that do not work well.

    Args:
        rate: fraction of the units.
        kind: name of the kind; "auto" is "dropout".
        activation: activation of the units.
    """
    if kind == "auto":
        kind = "dropout"
    if not rate and kind not in ("dropout", "alpha"):
        hint(f"dropout_kind={kind} has no effect without dropout, a rate above 0")
    if rate and kind == "alpha" and activation != "selu":
        hint(
            "dropout_kind=alpha keeps mean and variance of SELU activations, not of "
            f"{activation}: activation=selu or dropout_kind=dropout"
        )
    if rate and activation == "selu" and kind in ("dropout", "gaussian"):
        hint(f"dropout_kind={kind} changes the mean of SELU activations: dropout_kind=alpha")
    return Dropout(rate, kind)

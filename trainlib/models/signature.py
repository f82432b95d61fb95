"""`ModelSignature`: the named inputs and outputs of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class ModelSignature(NamedTuple):
    """The named inputs and outputs of a model.

    Attributes:
        inputs: for each input, by its name, the positions of its columns in x. {}: the model has
            one input, which takes x itself.
        outputs: names of the outputs. (): the model has one output, without a name.
    """

    inputs: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]

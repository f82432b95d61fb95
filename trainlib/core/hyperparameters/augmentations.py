"""The declarations of the values that augmentations of images take."""

from __future__ import annotations

from trainlib.core.hyperparameters.declaration import (
    DECAY,
    FRACTION,
    POSITIVE,
    Range,
    Table,
    choice,
    integer,
    number,
)

PART = Range(above=0, at_most=1)

AUGMENTATIONS: Table = {
    "direction": choice("sides that change places", "horizontal", "vertical", "both"),
    "probability": number("fraction of the examples that are changed", PART),
    "rotation.factor": number("largest angle to either side, in full turns", PART),
    "zoom.factor": number("largest change of height and width, as a fraction", DECAY),
    "translation.factor": number("largest shift, as a fraction of height and width", FRACTION),
    "shear.factor": number("largest shift of a row by its distance from the centre", FRACTION),
    "crop.padding": integer("largest shift", Range(at_least=1, at_most=1000), unit="pixels"),
    "contrast.factor": number("largest change of the contrast, as a fraction", FRACTION),
    "brightness.factor": number("largest change, as a fraction of the range of values", FRACTION),
    "saturation.factor": number("largest change of the saturation, as a fraction", FRACTION),
    "noise.stddev": number("standard deviation, as a fraction of the range of values", POSITIVE),
    "cutout.size": integer("side of the square", Range(at_least=1), unit="pixels"),
    "smallest": number("smallest area, as a fraction of the image", PART),
    "largest": number("largest area, as a fraction of the image", PART),
    "ratio": number("smallest ratio of height to width; the largest is its inverse", PART),
    "alpha": number("shape of the beta distribution of the shares", POSITIVE),
    "num_ops": integer("changes of each image", Range(at_least=1, at_most=100)),
    "magnitude": number("strength", Range(at_least=0, at_most=30)),
}

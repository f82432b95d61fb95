# title: Gradient clipping: [0.9, 100] by value and by norm
# figure: value_error <= 1e-6 (documents: [0.9, 1.0])
# figure: norm_error <= 1e-6 (documents: [0.00899964, 0.9999595])
# quick:
"""Clipping by value changes the direction of a gradient, clipping by norm keeps it."""

import numpy as np
import tensorflow as tf

import trainlib as tl


def main(seed=0):
    gradient = {"w": tf.constant([0.9, 100.0])}
    found = {}
    for name, clip, expected in (
        ("value_error", tl.clip_by_value(1.0), [0.9, 1.0]),
        ("norm_error", tl.clip_by_norm(1.0), [0.00899964, 0.9999595]),
    ):
        clipped, _ = clip.update(gradient, clip.init(gradient), gradient)
        found[name] = float(np.abs(clipped["w"] - expected).max())
    return found


if __name__ == "__main__":
    print(main())

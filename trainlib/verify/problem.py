"""The test problem of the optimizers, a closed loop in which rounding errors shrink.

    g_k = scale (h w_k + z_k),   k = 0, 1, ...
    eta_k = 2^-6 2^(-k/64)

The curvatures h in [1/4, 1] and the noise z are fixed in advance. Wrong signs, orders, bias
corrections and placements of the rate show, and rounding errors shrink, where a network would
amplify them. The rate changes at every step, and some elements have a gradient of exactly 0 in the
first quarter of the steps.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np

Arrays: TypeAlias = dict[str, np.ndarray]

SHAPES = {"scalar": (), "vector": (5,), "wide": (3, 6), "tall": (6, 4), "kernel": (2, 3, 4)}


class Problem(NamedTuple):
    """A test problem.

    Attributes:
        start: the initial parameters by name.
        curvature: h by name.
        noise: z by name, for each step.
        rates: eta of each step, float64 [steps].
    """

    start: Arrays
    curvature: Arrays
    noise: list[Arrays]
    rates: np.ndarray


def make_problem(
    steps: int,
    dtype: str = "float64",
    scale: float = 1.0,
    seed: int = 0,
    rate: float = 2.0**-6,
    shapes: dict[str, tuple[int, ...]] | None = None,
) -> Problem:
    """Make a test problem.

    Args:
        steps: number of steps.
        dtype: dtype of the parameters. Default: "float64".
        scale: factor of all gradients, a power of two. Default: 1.
        seed: seed of the random numbers. Default: 0.
        rate: learning rate of the first step. Default: 2^-6.
        shapes: shapes of the parameters by name. Default: None, `SHAPES`.
    """
    rng = np.random.default_rng(seed)
    shapes = SHAPES if shapes is None else shapes

    def draw(low: float, high: float) -> Arrays:
        """Draw an array of each shape."""
        return {name: rng.uniform(low, high, shape).astype(dtype) for name, shape in shapes.items()}

    start, curvature = draw(-1, 1), draw(0.25, 1)
    noise = [draw(-1, 1) for _ in range(steps)]
    for name in shapes:
        silent = rng.uniform(size=shapes[name]) < 0.2
        start[name] = np.where(silent, start[name] * 0, start[name]).astype(dtype)
        for row in noise[: steps // 4]:
            row[name] = np.where(silent, row[name] * 0, row[name]).astype(dtype)
    factor = np.asarray(scale, dtype)
    curvature = {name: np.asarray(factor * h) for name, h in curvature.items()}
    noise = [{name: np.asarray(factor * z) for name, z in row.items()} for row in noise]
    rates = np.exp2(-np.arange(steps) / 64) * rate
    return Problem(start, curvature, noise, rates.astype(np.float32).astype(np.float64))

"""Draw the curve of each schedule, and all of them in one figure.

python docs/pictures.py            # writes docs/schedules/*.svg; needs matplotlib
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import trainlib as tl
import trainlib.registry as registry

FOLDER = Path(__file__).parent / "schedules"
GALLERY = "gallery"
STEPS = 100

EXAMPLES: dict[str, dict[str, Any]] = {
    "constant": {"initial_learning_rate": 0.1},
    "exponential_decay": {"initial_learning_rate": 0.1, "decay_steps": 50, "decay_rate": 0.1},
    "inverse_time_decay": {"initial_learning_rate": 0.1, "decay_steps": 20, "decay_rate": 1.0},
    "power_decay": {"initial_learning_rate": 0.1, "decay_steps": 20, "power": 2.0},
    "polynomial_decay": {
        "initial_learning_rate": 0.1,
        "decay_steps": 80,
        "end_learning_rate": 0.01,
        "power": 2.0,
    },
    "step_decay": {"initial_learning_rate": 0.1, "step_size": 20},
    "piecewise_constant": {"boundaries": [25, 60], "values": [0.1, 0.05, 0.01]},
    "hold_then_decay": {"initial_learning_rate": 0.1, "hold_steps": 30},
    "inverse_sqrt_decay": {"initial_learning_rate": 0.1, "warmup_steps": 10},
    "cosine_decay": {
        "initial_learning_rate": 0.0,
        "decay_steps": 80,
        "warmup_target": 0.1,
        "warmup_steps": 10,
        "alpha": 0.1,
    },
    "cosine_decay_restarts": {
        "initial_learning_rate": 0.1,
        "first_decay_steps": 15,
        "m_mul": 0.8,
    },
    "one_cycle": {"maximal_learning_rate": 0.1, "total_steps": STEPS},
    "cyclic": {
        "initial_learning_rate": 0.02,
        "maximal_learning_rate": 0.1,
        "step_size_up": 12,
        "mode": "triangular2",
    },
    "warmup_stable_decay": {
        "initial_learning_rate": 0.1,
        "total_steps": STEPS,
        "warmup_steps": 10,
        "cooldown_steps": 30,
    },
    "linear_warmup": {"initial_learning_rate": 0.1, "warmup_steps": 20},
    "join_schedules": {
        "schedules": [tl.constant_schedule(0.1), tl.exponential_decay(0.05, 50, 0.1)],
        "boundaries": [40],
    },
    "per_epoch": {"schedule": tl.exponential_decay(0.1, 1, 0.7), "steps_per_epoch": 10},
}
"""The arguments of each schedule in its figure, over STEPS steps."""


def curve(name: str) -> np.ndarray:
    """Return the learning rates of an example."""
    schedule: Callable[[Any], Any] = registry.SCHEDULES[name](**EXAMPLES[name])
    return np.asarray(schedule(np.arange(STEPS + 1)))


def draw(axes: Any, name: str) -> None:
    """Draw the curve of an example."""
    axes.plot(np.arange(STEPS + 1), curve(name), color="tab:blue", linewidth=1.5)
    axes.set(xlim=(0, STEPS), ylim=(0, 0.11))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, name: str) -> None:
    """Write a figure, the same bytes each time."""
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None}, facecolor="white")


def main() -> None:
    """Write all figures."""
    matplotlib.rcParams.update({"svg.hashsalt": "trainlib", "svg.fonttype": "none"})
    for name in registry.SCHEDULES:
        figure = Figure(figsize=(5, 2.2), layout="constrained")
        axes = figure.subplots()
        draw(axes, name)
        axes.set(xlabel="step", ylabel="learning rate")
        save(figure, name)
    columns = 4
    rows = -(-len(registry.SCHEDULES) // columns)
    sheet = Figure(figsize=(3 * columns, 1.9 * rows), layout="constrained")
    grid = list(sheet.subplots(rows, columns, sharex=True, sharey=True).flat)
    for axes, name in zip(grid, registry.SCHEDULES, strict=False):
        draw(axes, name)
        axes.set_title(name, fontsize=10)
    for axes in grid[: len(registry.SCHEDULES)][-columns:]:
        axes.tick_params(labelbottom=True)
    for axes in grid[len(registry.SCHEDULES) :]:
        axes.set_axis_off()
    sheet.supxlabel("step")
    sheet.supylabel("learning rate")
    save(sheet, GALLERY)


if __name__ == "__main__":
    main()

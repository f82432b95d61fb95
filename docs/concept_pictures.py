"""Draw the pictures of docs/concepts/.

python docs/concept_pictures.py    # writes docs/concepts/*.svg; needs matplotlib
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

import trainlib as tl

FOLDER = Path(__file__).parent / "concepts"
SLOPES = np.array([1.0, 12.0])
START = np.array([-4.0, 1.5])
PATHS: dict[str, Callable[[], tl.Optimizer]] = {
    "sgd": lambda: tl.sgd(0.12),
    "sgd, momentum 0.9": lambda: tl.sgd(0.02, momentum=0.9),
    "adagrad": lambda: tl.adagrad(0.8),
    "adam": lambda: tl.adam(0.3),
}


def path(optimizer: tl.Optimizer, steps: int) -> np.ndarray:
    """Return the points of an optimizer on a bowl that is 12 times as steep in one direction."""
    w = tf.constant(START)
    state, found = optimizer.init(w), [START]
    step = tf.function(optimizer.update, autograph=False)
    for _ in range(steps):
        updates, state = step(SLOPES * w, state, w)
        w = tl.apply_updates(w, updates)
        found.append(w.numpy())
    return np.array(found)


def optimizers(figure: Figure) -> None:
    """Draw the paths of four optimizers on one bowl."""
    x, y = np.meshgrid(np.linspace(-4.6, 1.8, 120), np.linspace(-2.1, 2.1, 80))
    height = 0.5 * (SLOPES[0] * x**2 + SLOPES[1] * y**2)
    for axes, (name, make) in zip(
        figure.subplots(2, 2, sharex=True, sharey=True).flat, PATHS.items(), strict=True
    ):
        axes.contour(x, y, height, levels=np.geomspace(0.1, 25, 9), colors="0.8", linewidths=0.8)
        points = path(make(), 40)
        axes.plot(*points.T, "o-", color="tab:blue", markersize=2.5, linewidth=1)
        axes.plot(0, 0, "+", color="tab:red", markersize=9)
        axes.set_title(name, fontsize=10)
    figure.supxlabel("first weight", fontsize=10)
    figure.supylabel("second weight", fontsize=10)


def regularization(figure: Figure) -> None:
    """Draw what a penalty and a decoupled decay do to weights of unequal gradients."""
    left, right = figure.subplots(1, 2, sharey=True)
    noise = np.random.default_rng(0).normal(size=(400, 2)) * [1.0, 0.05]
    for axes, form, title in ((left, "l2", "penalty in the gradient"), (right, "pre", "decoupled")):
        optimizer = tl.adam(0.01, weight_decay=0.3, decay_form=form)
        w = tf.constant([1.0, 1.0], tf.float64)
        state, found = optimizer.init(w), [w.numpy()]
        step = tf.function(optimizer.update, autograph=False)
        for g in noise:
            updates, state = step(tf.constant(g), state, w)
            w = tl.apply_updates(w, updates)
            found.append(w.numpy())
        lines = axes.plot(found, linewidth=1.2)
        axes.legend(lines, ["large gradients", "small gradients"], frameon=False, fontsize=8)
        axes.set(title=f"Adam, {title}", xlabel="step")
        axes.title.set_fontsize(10)
    left.set_ylabel("weight")


def clipping(figure: Figure) -> None:
    """Draw what clipping by value and by norm do to gradients."""
    angles = np.linspace(0, 2 * np.pi, 25)[:-1]
    g = 2.0 * np.array([np.cos(angles), np.sin(angles)]).T * np.linspace(0.3, 1, 24)[:, None]
    for axes, make, title in zip(
        figure.subplots(1, 2, sharey=True),
        (tl.clip_by_value, tl.clip_by_norm),
        ("by value", "by norm"),
        strict=True,
    ):
        clipped = np.array([make(1.0).update([tf.constant(x)], (), None)[0][0] for x in g])
        for a, b in zip(g, clipped, strict=True):
            axes.plot(*np.array([a, b]).T, color="0.75", linewidth=0.8)
        axes.plot(*g.T, ".", color="0.5", label="gradient")
        axes.plot(*clipped.T, "o", color="tab:blue", markersize=4, label="clipped to 1")
        axes.set(title=title, aspect="equal", xlim=(-2.2, 2.2), ylim=(-2.2, 2.2))
        axes.title.set_fontsize(10)
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def losses(figure: Figure) -> None:
    """Draw losses of an error, and of a probability."""
    left, right = figure.subplots(1, 2)
    error = np.linspace(-3, 3, 121)
    zero = np.zeros([len(error), 1])
    for name in ("mean_squared_error", "mean_absolute_error", "huber", "log_cosh"):
        left.plot(error, getattr(tl.losses, name)(zero, error[:, None]), label=name, linewidth=1.2)
    left.set(xlabel="error", ylim=(0, 4))
    left.legend(frameon=False, fontsize=8)
    p = np.linspace(1e-4, 1 - 1e-4, 200)
    one = np.ones([len(p), 1])
    for name, options in (
        ("binary_crossentropy", {}),
        ("binary_focal_crossentropy", {"gamma": 2.0}),
    ):
        values = getattr(tl.losses, name)(one, p[:, None], **options)
        right.plot(p, values, label=name, linewidth=1.2)
    right.set(xlabel="probability of the right class", ylim=(0, 4))
    right.legend(frameon=False, fontsize=8)
    left.set_ylabel("loss")


def loss_scale(figure: Figure) -> None:
    """Draw a dynamic loss scale over steps, some of which overflow."""
    scaling = tl.dynamic_loss_scale(initial=2.0**15, growth_steps=50)
    state, scales = scaling.init(), []
    for k in range(400):
        scales.append(float(state.scale))
        state = scaling.update(state, tf.constant(float(state.scale) < 2.0**18 and k != 230))
    axes = figure.subplots()
    axes.step(range(400), scales, where="post", color="tab:blue")
    axes.set_yscale("log", base=2)
    axes.set(xlabel="step", ylabel="loss scale")


PICTURES: dict[str, tuple[Callable[[Figure], None], tuple[float, float]]] = {
    "optimizers": (optimizers, (7, 4.6)),
    "regularization": (regularization, (7, 2.8)),
    "clipping": (clipping, (6.4, 3.2)),
    "losses": (losses, (7.4, 3)),
    "loss_scale": (loss_scale, (6, 2.4)),
}


def main() -> None:
    """Write all figures, the same bytes each time."""
    matplotlib.rcParams.update({"svg.hashsalt": "trainlib", "svg.fonttype": "none"})
    matplotlib.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
    for name, (draw, size) in PICTURES.items():
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        options: dict[str, Any] = {"metadata": {"Date": None}, "facecolor": "white"}
        figure.savefig(FOLDER / f"{name}.svg", **options)


if __name__ == "__main__":
    main()

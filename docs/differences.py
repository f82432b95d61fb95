"""Measure how large the differences between libraries are, and write the tables of docs/concepts/.

python docs/differences.py                    # all tables, or those of the names that are given
python docs/differences.py optimizers decay

A table stands in its page between `<!-- differences.py: NAME -->` and `<!-- end -->`. "clipping"
and "losses" call Keras, PyTorch and Optax; the others compare forms of trainlib, each of which
`verify` compares with its library.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import trainlib as tl
from trainlib.registry import OPTIMIZERS

PAGES = Path(__file__).parent / "concepts"
LIBRARIES = {"keras": "Keras", "torch": "PyTorch", "optax": "Optax", "paper": "paper"}
STEPS, RATE = 100, 0.01
MOMENTUM = {"sgd": {"momentum": 0.9}, "rmsprop": {"momentum": 0.9}}
"""What is not a library's default: without momentum the forms of these two are nearly the same."""
DECAYS = ("weight_decay", "adam_weight_decay")
SHAPES = ((4, 3), (3,), (2, 5))


def trajectory(optimizer: tl.Optimizer) -> np.ndarray:
    """Return the parameters after each step on noisy ill-conditioned bowls, [STEPS + 1, n]."""
    random = np.random.default_rng(0)
    w = [tf.constant(random.normal(size=shape)) for shape in SHAPES]
    slopes = [10.0 ** random.uniform(-1, 1, size=shape) for shape in SHAPES]
    state, found = optimizer.init(w), [w]

    @tf.function(autograph=False)
    def step(w: Any, state: Any, noise: Any) -> Any:
        grads = [h * x + e for h, x, e in zip(slopes, w, noise, strict=True)]
        updates, state = optimizer.update(grads, state, w)
        return tl.apply_updates(w, updates), state

    for _ in range(STEPS):
        noise = [tf.constant(0.3 * random.normal(size=shape)) for shape in SHAPES]
        w, state = step(w, state, noise)
        found.append(w)
    return np.array([np.concatenate([np.ravel(x) for x in w]) for w in found])


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest difference of two trajectories, over the longest way of a parameter."""
    way = np.abs(np.diff(a, axis=0)).sum(0).max()
    return float(np.abs(a - b).max() / way)


def optimizers() -> Iterator[list[str]]:
    """Yield the rows of the pairs of forms of each optimizer that differ."""
    yield ["optimizer", "forms of", "own defaults", "same numbers", "options that differ"]
    for name, factory in OPTIMIZERS.items():
        presets = getattr(factory, "conventions", {})
        known = inspect.signature(factory).parameters
        fixed = {x: 0.0 for x in DECAYS if x in known} | MOMENTUM.get(name, {})
        fixed |= {"learning_rate": _rate()} if "learning_rate" in known else {}
        own: dict[str, np.ndarray] = {}
        for a, b in combinations([x for x in LIBRARIES if x in presets], 2):
            differ = _differ(presets[a], presets[b])
            if not differ:
                continue
            for x in {a, b} - own.keys():
                own[x] = trajectory(factory(**fixed, convention=x))
            numbers = {k: v for k, v in presets[a].items() if isinstance(v, (int, float))}
            alike = trajectory(factory(**numbers | fixed, convention=b))
            sizes = [_size(difference(own[a], x)) for x in (own[b], alike)]
            yield [name, f"{LIBRARIES[a]}, {LIBRARIES[b]}", *sizes, ", ".join(differ)]


def _differ(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Return the options in which two conventions differ, besides learning rates and decay."""
    skipped = ("learning_rate", *DECAYS, "decay_form")
    return [f"`{name}`" for name in a if name not in skipped and a[name] != b[name]]


def _rate() -> tl.registry.Schedule:
    """Return a learning rate that falls: at a constant one some forms agree."""
    return tl.cosine_decay(RATE, STEPS, alpha=0.1, dtype="float64")


def decay() -> Iterator[list[str]]:
    """Yield the rows of the forms of weight decay beside the decoupled one of Keras and PyTorch."""
    yield ["optimizer", "`pre` and `add`", "`pre` and `l2`", "`pre` and `add_abs`"]
    for name in ("sgd", "adam", "rmsprop", "lion"):
        fixed: dict[str, Any] = {"weight_decay": 0.1, "learning_rate": _rate()} | MOMENTUM.get(
            name, {}
        )
        ways = {
            form: trajectory(OPTIMIZERS[name](**fixed, decay_form=form))
            for form in ("pre", "add", "l2", "add_abs")
        }
        yield [name, *(_size(difference(ways["pre"], ways[x])) for x in ("add", "l2", "add_abs"))]


SCHEDULES: Sequence[tuple[str, Callable[[], Any], Callable[[], Any], str]] = (
    (
        "a boundary belongs to the old value (Keras), or to the new one (PyTorch, Optax)",
        lambda: tl.piecewise_constant([30, 60], [1.0, 0.5, 0.1], dtype="float64"),
        lambda: tl.piecewise_constant([30, 60], [1.0, 0.5, 0.1], "new", dtype="float64"),
        "`piecewise_constant(boundary=...)`",
    ),
    (
        "after the end of a cosine: held (Keras, Optax), or rising again (PyTorch)",
        lambda: tl.cosine_decay(1.0, 60, dtype="float64"),
        lambda: tl.cosine_decay(1.0, 60, after_end="rise", dtype="float64"),
        "`cosine_decay(after_end=...)`",
    ),
    (
        "one cycle ends at the last step (PyTorch), or after it (Optax)",
        lambda: tl.one_cycle(1.0, STEPS, dtype="float64"),
        lambda: tl.one_cycle(1.0, STEPS, phase_end="next_step", dtype="float64"),
        "`one_cycle(phase_end=...)`",
    ),
    (
        "restarts by an exact division, or by a logarithm that misses some (Keras)",
        lambda: tl.cosine_decay_restarts(1.0, 1, t_mul=3.0, dtype="float64"),
        lambda: tl.cosine_decay_restarts(1.0, 1, t_mul=3.0, convention="keras", dtype="float64"),
        "`cosine_decay_restarts(restart_index=...)`",
    ),
)


def schedules() -> Iterator[list[str]]:
    """Yield the rows of the forms of schedules."""
    yield ["what differs", "at step", "one", "the other", "option"]
    steps = np.arange(200)
    for what, one, other, option in SCHEDULES:
        a, b = (np.asarray(make()(steps), np.float64) for make in (one, other))
        k = int(np.abs(a - b).argmax())
        yield [what, str(k), f"{a[k]:.3g}", f"{b[k]:.3g}", option]


GRADIENTS = {
    "[0.9, 100]": [0.9, 100.0],
    "[0.6, 0.8], a norm of exactly 1": [0.6, 0.8],
    "[0, 0]": [0.0, 0.0],
    "[inf, 1]": [np.inf, 1.0],
    "[1e200, 1]": [1e200, 1.0],
}


def clipping() -> Iterator[list[str]]:
    """Yield the rows of gradients that are clipped to a norm of 1 by each library."""
    import jax
    import keras
    import optax
    import torch

    jax.config.update("jax_enable_x64", True)
    yield [
        "gradient",
        "trainlib",
        "Keras `clipnorm`",
        "Keras `global_clipnorm`",
        "PyTorch",
        "Optax",
    ]
    for text, gradient in GRADIENTS.items():
        g = np.array(gradient)
        ours, _ = tl.clip_by_global_norm(1.0).update([tf.constant(g)], (), None)
        by_keras = [
            keras.optimizers.SGD(**{name: 1.0})._clip_gradients([tf.constant(g)])[0]
            for name in ("clipnorm", "global_clipnorm")
        ]
        parameter = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
        parameter.grad = torch.tensor(g)
        torch.nn.utils.clip_grad_norm_([parameter], 1.0)
        by_optax, _ = optax.clip_by_global_norm(1.0).update(
            jax.numpy.asarray(g), optax.EmptyState()
        )
        found = [ours[0], *by_keras, parameter.grad, by_optax]
        yield [text, *(_vector(np.asarray(x)) for x in found)]


def losses() -> Iterator[list[str]]:
    """Yield the rows of cross-entropies at the edges, by each library."""
    import keras
    import torch

    yield ["loss", "target", "prediction", "trainlib", "Keras", "PyTorch"]
    cases: Sequence[tuple[str, list[Any], list[Any]]] = (
        ("binary_crossentropy", [1.0], [0.0]),
        ("binary_crossentropy", [1.0], [1.0]),
        ("sparse_categorical_crossentropy", [0], [[2.0, 1.0, 1.0]]),
        ("categorical_crossentropy", [[1.0, 0.0, 0.0]], [[2.0, 1.0, 1.0]]),
        ("categorical_crossentropy", [[1.0, 0.0, 0.0]], [[0.0, 0.5, 0.5]]),
    )
    for name, target, prediction in cases:
        y, p = tf.constant(target), tf.constant(prediction, tf.float64)
        ours, theirs = (np.ravel(getattr(x.losses, name)(y, p))[0] for x in (tl, keras))
        cells = [f"{ours:.6g}", f"{theirs:.6g}", ""]
        if name == "binary_crossentropy":
            loss = torch.nn.functional.binary_cross_entropy
            cells[2] = f"{loss(torch.tensor(prediction), torch.tensor(target)):.6g}"
        yield [f"`{name}`", str(target[0]), str(prediction[0]), *cells]


def _size(value: float) -> str:
    """Return a difference with one digit; rounding is written as 0."""
    return "0" if value < 1e-13 else f"{value:.0e}"


def _vector(values: np.ndarray) -> str:
    """Return an array as text, with enough digits to see the difference of PyTorch."""
    return f"[{', '.join(f'{x:.7g}' for x in values)}]"


TABLES = {
    "optimizers": ("optimizers.md", optimizers),
    "decay": ("regularization.md", decay),
    "schedules": ("schedules.md", schedules),
    "clipping": ("clipping.md", clipping),
    "losses": ("losses.md", losses),
}


def table(name: str) -> str:
    """Return a table in Markdown, measured now."""
    head, *rows = TABLES[name][1]()
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def written(name: str) -> str:
    """Return the table that is in the page."""
    text = (PAGES / TABLES[name][0]).read_text(encoding="utf-8")
    return re.search(rf"<!-- differences.py: {name} -->\n\n(.*?)\n\n<!-- end -->", text, re.DOTALL)[
        1
    ]


def main() -> None:
    """Measure, and write the tables into their pages."""
    for name in sys.argv[1:] or TABLES:
        path = PAGES / TABLES[name][0]
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(written(name), table(name)), encoding="utf-8")
        print(f"{path.name}: {name}")


if __name__ == "__main__":
    main()

"""A plot of the ratios of trainlib's steps per second to those of its peers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contenders import FAMILIES
from report import TITLES

COLORS = ("#8c6bb1", "#1f5a8a", "#6aa5d0", "#d9822b", "#6b9e4f")
"""Of the families, in the order of `TITLES`."""


def plot_ratios(found: Mapping[str, Any], path: Path) -> None:
    """Draw the ratios as bars from 1, by workload, on a logarithmic axis.

    Args:
        found: the figures.
        path: file to write; its ending gives the format.
    """
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    workloads = found["workloads"]
    figure, axes = plt.subplots(figsize=(8, 1 + 0.95 * len(workloads)), layout="constrained")
    height = 0.8 / len(FAMILIES)
    for i, (family, title) in enumerate(TITLES.items()):
        bars = [
            (at + i * height, row[f"ratio_{family}"])
            for at, row in enumerate(workloads.values())
            if row.get(f"ratio_{family}") is not None
        ]
        if bars:
            places, ratios = zip(*bars, strict=True)
            beyond = [ratio - 1 for ratio in ratios]
            drawn = axes.barh(places, beyond, 0.9 * height, 1, color=COLORS[i], label=title)
            axes.bar_label(drawn, [f"{ratio:.3g}x" for ratio in ratios], padding=3, fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}x")
    axes.margins(x=0.15)
    middle = height * (len(FAMILIES) - 1) / 2
    axes.set_yticks([at + middle for at in range(len(workloads))], list(workloads))
    axes.invert_yaxis()
    axes.set_xlabel("steps per second of trainlib, relative to")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(TITLES), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)

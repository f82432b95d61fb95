"""Print how much five members gain over one, on Fashion-MNIST and California housing.

    python benchmarks/ensembles.py

For three sets of seeds it prints test error and negative log-likelihood of single members (mean and
standard deviation) and of their average. The likelihood of numbers is that of a normal distribution
whose variance is the squared error on the validation data.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import trainlib as tl

MEMBERS = 5
SEEDS = (0, 100, 200)
COMMON = ("--batch_size=128", "--noreport", f"--ensemble={MEMBERS}")
CASES = {
    "fashion_mnist": ("--model=mlp", "--hidden=100", "--epochs=5", "--train_examples=20000"),
    "california_housing": ("--model=mlp", "--hidden=50,50", "--epochs=20", "--learning_rate=0.003"),
}


def main() -> None:
    """Print the table, a row for each data set and set of seeds."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    print("| data set | seeds | measure | one member | ensemble of 5 |")
    print("| --- | --- | --- | --- | --- |")
    times = []
    for dataset, flags in CASES.items():
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                scores = _scores([f"--dataset={dataset}", f"--seed={seed}", *flags], folder)
                times.append(f"{dataset} {seed}: {time.perf_counter() - began:.0f} s")
            for measure, members, ensemble in _rows(scores):
                one = f"{np.mean(members):.4f} ± {np.std(members, ddof=1):.4f}"
                seeds = f"{seed} to {seed + MEMBERS - 1}"
                print(f"| {dataset} | {seeds} | {measure} | {one} | {ensemble:.4f} |", flush=True)
    print("; ".join(times))


def _scores(flags: list[str], folder: str) -> dict[str, Any]:
    """Train an ensemble, and return its scores by part of the data."""
    config = tl.ExperimentConfig.from_flags("\n".join([*COMMON, *flags]))
    tl.run_ensemble(config, Path(folder) / "run")
    summary = json.loads((Path(folder) / "run" / "summary.json").read_text())
    return dict(summary["ensemble"]["scores"])


def _rows(scores: dict[str, Any]) -> list[tuple[str, list[float], float]]:
    """Return the rows of an ensemble: the measure, that of each member, and of the ensemble."""
    test, kept = scores["test"], scores["validation"]
    if "error" in test:
        nll, error = test["negative_log_likelihood"], test["error"]
        return [
            ("test error", error["members"], error["ensemble"]),
            ("negative log-likelihood", nll["members"], nll["ensemble"]),
        ]
    mse, on_kept = test["squared_error"], kept["squared_error"]
    likelihoods = [_normal(a, b) for a, b in zip(mse["members"], on_kept["members"], strict=True)]
    ensemble = _normal(mse["ensemble"], on_kept["ensemble"])
    return [
        ("test squared error", mse["members"], mse["ensemble"]),
        ("negative log-likelihood", likelihoods, ensemble),
    ]


def _normal(error: float, variance: float) -> float:
    """Return the mean negative log-likelihood of a squared error at a variance."""
    return 0.5 * (math.log(2 * math.pi * variance) + error / variance)


if __name__ == "__main__":
    main()

"""The range test of what the flags name: for `lr_find`, and for `train --learning_rate=auto`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import trainlib.report.plots as plots
from trainlib.cli import build
from trainlib.cli.flag_types import Values
from trainlib.cli.optimization import optimizer_of
from trainlib.core.checks import check_integer
from trainlib.core.tree import kernels
from trainlib.tools.loss_curve import LRFinderResult, OnStep, RangeTest
from trainlib.tools.range_test import DEFAULT, lr_finder
from trainlib.training.files import write_text

CURVE_FILE = "lr_find.csv"
PICTURE_FILE = "lr_find.png"


def find_rate(
    values: Values,
    task: build.Task,
    built: build.Models,
    on_step: OnStep | None = None,
    ramp: RangeTest = DEFAULT,
) -> LRFinderResult:
    """The range test of what the flags of `train` name; the model stays as it is.

    A batch here holds the examples of a whole update, whatever its gradients are accumulated from.

    Args:
        values: of the flags of `train`.
        task: the data, of which the training part is used, and the loss.
        built: the model.
        on_step: is told of each step, as by `lr_finder`.
        ramp: the options of the test.
    """
    for name in ("batch_size", "gradient_accumulation_steps"):
        check_integer(name, values[name].value, at_least=1)
    return lr_finder(
        built.trained,
        build.build_loss(values, task.loss, built.from_logits),
        lambda rate: optimizer_of(values, rate),
        build.class_weighted(values, task),
        batch_size=values.batch_size * values.gradient_accumulation_steps,
        regularizer=build.build_regularizer(values),
        regularizer_mask=values.regularized_params or kernels,
        seed=values.seed,
        precision=values.precision,
        execution=values.execution,
        on_step=on_step,
        range_test=ramp,
    )


def write_range_test(folder: Path, result: LRFinderResult, title: str) -> None:
    """Writes the curve, and its picture; without matplotlib, one line says what to install."""
    rows = zip(result.rates, result.losses, result.smoothed, strict=True)
    lines = [f"{k},{','.join(str(float(x)) for x in row)}" for k, row in enumerate(rows)]
    write_text(folder / CURVE_FILE, "\n".join(["step,learning_rate,loss,smoothed", *lines]) + "\n")
    try:
        plots.save(plots.lr_find(result, title), folder / PICTURE_FILE)
    except ImportError as error:
        print(f"no {PICTURE_FILE}: {error}", flush=True)


def read_range_test(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rates, the losses and the smoothed losses that `write_range_test` wrote.

    Raises:
        ValueError: the file holds something else.
    """
    file = folder / CURVE_FILE
    try:
        table = np.loadtxt(file, delimiter=",", skiprows=1, ndmin=2)
        _, rates, losses, smoothed = table.T
    except ValueError as error:
        raise ValueError(f"{file}: not the curve of a range test: {error}") from error
    return rates, losses, smoothed

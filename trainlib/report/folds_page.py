"""The page of a cross-validation: its scores, its folds, and predictions of held-out examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from trainlib.report import figures, page, tables
from trainlib.report.curves import as_words
from trainlib.report.predictions import (
    Predictions,
    confusion_counts,
    confusion_matrix_figure,
    residual_figure,
)
from trainlib.report.run_page import MOST_RESULTS, REPORT_FILE, duration, file_name
from trainlib.tools.fold_scores import BiasVariance, FoldScore
from trainlib.training.files import write_text


class Folds(Protocol):
    """The fields of a `CrossValidationResult` that the page shows."""

    @property
    def config(self) -> Any: ...
    @property
    def options(self) -> Any: ...
    @property
    def folds(self) -> Sequence[Any]: ...
    @property
    def scores(self) -> Mapping[str, FoldScore]: ...
    @property
    def train_scores(self) -> Mapping[str, FoldScore]: ...
    @property
    def out_of_fold(self) -> np.ndarray: ...
    @property
    def targets(self) -> np.ndarray: ...
    @property
    def bias_variance(self) -> BiasVariance | None: ...


def write_folds_page(
    found: Folds, name: str, classes: Sequence[str], folder: Path, made: page.Provenance
) -> None:
    """Write the page and its pictures.

    Args:
        found: the result of the cross-validation.
        name: name of the data set.
        classes: names of the classes; () for numbers.
        folder: folder to write to.
        made: the command, the date, the seed and the versions.

    Raises:
        ImportError: matplotlib is not installed.
    """
    drawn = {result: _by_fold(found, result) for result in found.scores}
    predicted = _predicted(found, classes)
    failed = sum(x.failure is not None for x in found.folds)
    warning = f"{failed} of {len(found.folds)} folds failed." if failed else ""
    repeats = f", {found.options.repeats} times" if found.options.repeats > 1 else ""
    title = f"{name}: {found.options.folds} folds{repeats}"
    sections = [
        page.heading(title, made, warning),
        page.key_results(_key_results(found)),
        page.description_list(_facts(found)),
        page.section("Results on held-out examples", _scores(found), page.note(INTERVALS)),
        page.section("Bias and variance", _parts(found)),
        page.section("By fold", page.figure_grid(drawn.items()), _table(found)),
        page.section("Predictions of held-out examples", page.figure_grid(predicted.items())),
    ]
    text = page.document(title, sections)
    for key, figure in (drawn | predicted).items():
        figures.save_png(figure, folder / f"{file_name(key)}.png")
    write_text(folder / REPORT_FILE, text)


def _key_results(found: Folds) -> list[tuple[str, str]]:
    """Return the mean results on held-out examples, metrics before the loss."""
    ordered = sorted(found.scores.items(), key=lambda item: item[0] == "loss")
    return [
        (tables.with_spread(x.mean, x.standard_error), f"held-out {as_words(name)}")
        for name, x in ordered[:MOST_RESULTS]
    ]


def _facts(found: Folds) -> list[tuple[str, str]]:
    """Return a description of the models, as names and texts."""
    config, folds = found.config, found.folds
    sizes = sorted({x.train_size for x in folds})
    epochs = np.mean([x.epochs for x in folds])
    return [
        ("model", config.model.name),
        ("optimizer", config.optimizer.name),
        ("training examples", f"{' or '.join(f'{x:,}' for x in sizes[:2])} in each fold"),
        ("epochs", f"{epochs:.3g}, mean of the folds"),
        ("training took", duration(np.array([x.seconds for x in folds]))),
    ]


INTERVALS = (
    "Folds share most of their training examples. The interval allows for that (Nadeau and Bengio, "
    "2003); the standard error takes the folds for independent."
)
ONE_REPEAT = (
    "A model that predicts its training examples badly has a large bias; one that predicts them "
    "better than held-out examples has a large variance. The parts of the error need two or more "
    "repeats (--fold_repeats=2), in which several models predict the same examples."
)
REPEATED = (
    "Bias: squared error of the mean prediction of an example, the noise of its target included. "
    "Variance: of the predictions of an example by models that were trained on other examples. "
    "Averaging models lowers the variance only."
)


def _scores(found: Folds) -> str:
    """Return a table of the results over the folds."""
    interval = f"{100 * found.options.confidence:g} % interval"
    headers = ["result", "mean", "standard error", "std of folds", interval, "training"]
    rows = [
        [
            as_words(name),
            x.mean,
            x.standard_error,
            x.std,
            f"{x.low:.4g} to {x.high:.4g}",
            found.train_scores[name].mean if name in found.train_scores else "",
        ]
        for name, x in found.scores.items()
    ]
    return tables.table(headers, rows)


def _parts(found: Folds) -> str:
    """Return a table of bias and variance; without repeats, of estimates that stand for them."""
    parts = found.bias_variance
    if parts is not None:
        cells = [["squared error", parts.error], ["bias", parts.bias], ["variance", parts.variance]]
        return tables.table(["part", "value"], cells) + page.note(REPEATED)
    rows = [
        [as_words(name), found.train_scores[name].mean, x.mean - found.train_scores[name].mean]
        for name, x in found.scores.items()
        if name in found.train_scores
    ]
    headers = ["result", "training (bias)", "held out - training (variance)"]
    return tables.table(headers, rows) + page.note(ONE_REPEAT)


def _table(found: Folds) -> str:
    """Return a table with a row for each fold."""
    names = list(found.scores)
    rows = []
    for x in found.folds:
        values = [x.held_out.get(name, "") for name in names]
        rows.append([x.repeat + 1, x.fold + 1, x.train_size, x.epochs, *values, x.failure or ""])
    headers = ["repeat", "fold", "training examples", "epochs", *map(as_words, names), "failure"]
    first = 0 if found.options.repeats > 1 else 1
    last = len(headers) - (not any(row[-1] for row in rows))
    return tables.table(headers[first:last], [row[first:last] for row in rows])


def _by_fold(found: Folds, name: str) -> Any:
    """Return a figure of a result on training and held-out examples by fold."""
    figure, axes = figures.new_figure(as_words(name), "fold", as_words(name))
    finished = [(k + 1, x) for k, x in enumerate(found.folds) if x.failure is None]
    for part, color, label in (
        ("train", figures.TRAIN, "training"),
        ("held_out", figures.VALIDATION, "held out"),
    ):
        points = [(k, getattr(x, part)[name]) for k, x in finished if name in getattr(x, part)]
        if points:
            axes.plot(*zip(*points, strict=True), "o", color=color, label=label)
    score = found.scores[name]
    axes.axhline(
        score.mean, color=figures.INK, linewidth=1, linestyle="--", label="mean of held out"
    )
    if score.low == score.low:
        look = {"color": figures.VALIDATION, "alpha": 0.15, "linewidth": 0}
        label = f"{100 * found.options.confidence:g} % interval of the mean"
        axes.axhspan(score.low, score.high, label=label, **look)
    axes.xaxis.get_major_locator().set_params(integer=True)
    figures.add_legend(axes)
    return figure


def _predicted(found: Folds, classes: Sequence[str]) -> dict[str, Any]:
    """Return figures of the predictions for held-out examples, over all repeats."""
    columns = found.out_of_fold.shape[-1]
    scores = found.out_of_fold.reshape(-1, columns)
    rows = np.isfinite(scores).all(axis=1)
    targets = np.tile(found.targets.reshape(len(found.targets), -1), (found.options.repeats, 1))
    losses = np.zeros(int(rows.sum()))
    if classes and len(classes) == columns:
        true = targets[rows, 0].astype(int)
        shown = Predictions(true, scores[rows].argmax(axis=1), scores[rows], losses)
        counts = confusion_counts(shown, columns)
        return {"confusion_matrix": confusion_matrix_figure(counts, classes, "held-out")}
    if classes or columns > 1 or targets.shape[1] > 1:
        return {}
    shown = Predictions(targets[rows, 0], scores[rows, 0], None, losses)
    return {"residuals": residual_figure(shown)}

"""`compare`: train several configurations with several seeds, rank them, and test differences."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainlib.core.checks import check_integer
from trainlib.experiment import run_folder
from trainlib.experiment.comparison import folder as folders
from trainlib.experiment.comparison.checks import Contenders, check_contenders
from trainlib.experiment.comparison.folder import SavedComparison
from trainlib.experiment.comparison.options import CompareConfig
from trainlib.experiment.comparison.running import Comparison, ComparisonStatus, RunningComparison


class ComparisonInterrupted(KeyboardInterrupt):
    """A comparison was interrupted; it can be resumed.

    Attributes:
        folder: folder of the comparison.
        finished: number of runs that have ended.
        runs: total number of runs.
    """

    def __init__(self, folder: Path, finished: int, runs: int) -> None:
        super().__init__(f"{finished} of {runs} runs")
        self.folder, self.finished, self.runs = folder, finished, runs


def compare(
    configs: Contenders,
    seeds: int = 5,
    options: CompareConfig | None = None,
    *,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
    on_run: Callable[[ComparisonStatus], Any] = lambda status: None,
) -> Comparison:
    """Train configurations with several seeds and compare them, like `compare` at a shell.

    Contenders are ranked by the mean of a result on the validation part. Differences are tested on
    the test part, if there is one, by paired t-tests over the seeds, with Holm's correction of the
    p-values.

    Args:
        configs: configurations by the name of the contender, as returned by `tl.vary`. All must
            have the same data and the same seed.
        seeds: number of seeds, at least 1; the first is that of the configurations. A seed sets the
            initial weights, the order of the examples and random parts of the data. Default: 5.
        options: a `CompareConfig`. Default: None, its defaults.
        run_dir: folder to write, new or empty. Default: None, runs/compare-<data set>-<model>-...
        resume: whether to continue the comparison in `run_dir`, possibly with more seeds; failed
            runs are repeated. Default: False.
        on_run: function called with a `ComparisonStatus` after each run. Default: not called.

    Returns:
        A `Comparison`.

    Raises:
        ValueError, TypeError, OSError: the configurations cannot be compared, or something that
            they name does not exist.
        RuntimeError: all runs have failed.

    Example:
        >>> import tempfile
        >>> config = tl.ExperimentConfig(
        ...     data=tl.DataConfig(train_examples=64),
        ...     model=tl.config("mlp", hidden=[8]),
        ...     epochs=2,
        ...     execution="graph",
        ...     report=False,
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = tl.compare(tl.vary(config, "optimizer={sgd,adam}"), seeds=2, run_dir=folder)
        >>> sorted(x.name for x in found.contenders), len(found.best.runs), len(found.differences)
        (['adam', 'sgd'], 2, 1)
    """
    options = options or CompareConfig()
    check_integer("seeds", seeds, at_least=1)
    if not isinstance(configs, Mapping):
        raise TypeError(f"configs must be a mapping from names to configurations, got {configs!r}")
    saved = SavedComparison(dict(configs), seeds, options)
    path = run_folder.given_path(run_dir, resume, "comparison")
    if resume and path is not None:
        _check_resumed(folders.read_comparison(path), saved)
    check_contenders(configs, seeds, options)
    if not resume:
        path = run_folder.make(next(iter(configs.values())), path, prefix="compare-")
    assert path is not None
    with run_folder.locked(path):
        folders.write_comparison(path, saved)
        running = RunningComparison(saved, path, on_run)
        try:
            running.run()
        except KeyboardInterrupt:
            raise ComparisonInterrupted(path, running.finished, running.size) from None
        return running.finish()


def _check_resumed(known: SavedComparison, given: SavedComparison) -> None:
    """Raise `ValueError` unless a comparison is resumed with the same contenders and tuning."""
    if known.configs != given.configs:
        raise ValueError(
            "configs: the comparison in run_dir has other contenders; give the same ones, or a new "
            "run_dir"
        )
    for name in ("monitor", "monitor_mode", "tune_learning_rate", "learning_rates"):
        old, new = getattr(known.options, name), getattr(given.options, name)
        if old != new:
            raise ValueError(f"{name} is {old} in the comparison in run_dir, here it is {new}")

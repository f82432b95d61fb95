"""Measure a random search with cross-validation: Keras and trainlib through scikit-learn, trials.

    python benchmarks/search.py [--contenders=keras,estimator,trials] [--candidates=10]

The search is for a regression net on California housing: 0 to 3 hidden layers of 1 to 100 units,
and a learning rate with the density 1/x from 3e-4 to 3e-2. SGD on batches of 32 trains up to 100
epochs, with early stopping after 10 epochs without improvement on validation data, on three folds.
All contenders
train the same candidates on the same folds, each in a process of its own, which is timed from its
start to its end. They print the seconds, the CPU seconds, the epochs trained, and the
cross-validated mean squared error of each candidate and of the best one.

keras: `keras.wrappers.SKLearnRegressor` in `GridSearchCV` over the candidates.
estimator: `tl.estimators.TrainlibRegressor` in the same.
trials: `tl.run_trial` on each candidate and fold in two processes, as `tune --jobs=2` runs them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FOLDS, BATCH, PATIENCE, JOBS = 3, 32, 10, 2
TRAINING, VALIDATION = 11_610, 3_870
"""Examples for the folds and for early stopping; the others are for a test."""


class Options(NamedTuple):
    """What all contenders do.

    Attributes:
        candidates: number of candidates.
        epochs: largest number of epochs of a fit.
        seed: of the candidates and of the fits.
    """

    candidates: int = 10
    epochs: int = 100
    seed: int = 42


class Candidate(NamedTuple):
    """A net: number of hidden layers, units of each, learning rate."""

    depth: int
    width: int
    learning_rate: float


class Found(NamedTuple):
    """Result of a contender.

    Attributes:
        errors: cross-validated mean squared error by candidate; NaN for one that diverged.
        epochs: epochs of all fits.
    """

    errors: list[float]
    epochs: int


def candidates(options: Options) -> list[Candidate]:
    """Return the candidates, as `RandomizedSearchCV` draws them."""
    from scipy.stats import reciprocal
    from sklearn.model_selection import ParameterSampler

    space = {
        "depth": [0, 1, 2, 3],
        "width": np.arange(1, 101),
        "learning_rate": reciprocal(3e-4, 3e-2),
    }
    drawn = ParameterSampler(space, options.candidates, random_state=options.seed)
    return [Candidate(int(x["depth"]), int(x["width"]), float(x["learning_rate"])) for x in drawn]


def data() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return the examples for the folds and those for early stopping, columns standardized."""
    import trainlib as tl

    dataset = tl.data.load_dataset("california_housing")
    x = np.concatenate([dataset.train.x, dataset.test.x]).astype(np.float32)
    y = np.concatenate([dataset.train.y, dataset.test.y]).reshape(-1, 1).astype(np.float32)
    order = np.random.default_rng(42).permutation(len(x))
    x, y = x[order], y[order]
    x = (x - x[:TRAINING].mean(0)) / x[:TRAINING].std(0)
    end = TRAINING + VALIDATION
    return (x[:TRAINING], y[:TRAINING]), (x[TRAINING:end], y[TRAINING:end])


def by_keras(options: Options) -> Found:
    """Search by Keras's wrapper."""
    import keras
    from sklearn.model_selection import GridSearchCV

    training, validation = data()
    counted = _CountedEpochs()

    def model(X: Any, y: Any, depth: int, width: int, learning_rate: float) -> Any:
        hidden = [keras.layers.Dense(width, activation="relu") for _ in range(depth)]
        net = keras.Sequential([keras.Input(X.shape[1:]), *hidden, keras.layers.Dense(1)])
        net.compile(loss="mse", optimizer=keras.optimizers.SGD(learning_rate))
        return net

    class Regressor(keras.wrappers.SKLearnRegressor):  # type: ignore[misc]
        """The wrapper, with the callbacks of each fit made for it."""

        def fit(self, X: Any, y: Any) -> Any:
            stopping = keras.callbacks.EarlyStopping(patience=PATIENCE)
            super().fit(
                X,
                y,
                epochs=options.epochs,
                batch_size=BATCH,
                validation_data=validation,
                callbacks=[stopping],
                verbose=0,
            )
            counted.add(len(self.history_["loss"]))
            return self

    keras.utils.set_random_seed(options.seed)
    grid = {"model_kwargs": [x._asdict() for x in candidates(options)]}
    search = GridSearchCV(
        Regressor(model), grid, scoring="neg_mean_squared_error", cv=FOLDS, refit=False
    )
    search.fit(*training)
    return Found(list(-search.cv_results_["mean_test_score"]), counted.total)


def by_estimator(options: Options) -> Found:
    """Search by the estimator of trainlib."""
    from sklearn.model_selection import GridSearchCV

    import trainlib as tl

    (x, y), (x_val, y_val) = data()
    counted = _CountedEpochs()

    class Regressor(tl.estimators.TrainlibRegressor):  # type: ignore[misc]
        """The estimator, which counts epochs."""

        def fit(self, X: Any, y: Any, sample_weight: Any = None, **options: Any) -> Any:
            super().fit(X, y, sample_weight, **options)
            counted.add(len(self.history_))
            return self

    base = tl.ExperimentConfig(
        optimizer="sgd",
        monitors=[tl.config("early_stop", patience=PATIENCE)],
        batch_size=BATCH,
        epochs=options.epochs,
        seed=options.seed,
    )
    grid = [
        {
            "model": [_model(candidate)],
            "optimizer": [tl.config("sgd", learning_rate=candidate.learning_rate)],
        }
        for candidate in candidates(options)
    ]
    search = GridSearchCV(
        Regressor(config=base), grid, scoring="neg_mean_squared_error", cv=FOLDS, refit=False
    )
    search.fit(x, y[:, 0], X_val=x_val, y_val=y_val[:, 0])
    return Found(list(-search.cv_results_["mean_test_score"]), counted.total)


def by_trials(options: Options) -> Found:
    """Search by trials in two processes: a job has the folds of one candidate."""
    from search import prepared, trials  # by a name that other processes know

    from trainlib.experiment.jobs import run_jobs

    folders = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
    jobs = [(candidate, options) for candidate in candidates(options)]
    errors, epochs = [float("nan")] * len(jobs), 0
    for result in run_jobs(trials, prepared, jobs, JOBS):
        if result.value is not None:
            errors[result.position], count = result.value
            epochs += count
        else:
            print(result.failure, file=sys.stderr)
    return Found(errors, epochs)


def prepared() -> tuple[Any, Any, Any]:
    """Return what a process keeps from trial to trial: its pool, a task and the data."""
    import trainlib as tl
    from trainlib.experiment.task import build_task

    task = build_task(_experiment(Candidate(0, 1, 0.01), Options()))
    return tl.TrainerPool(), task, data()


def trials(kept: tuple[Any, Any, Any], job: tuple[Candidate, Options]) -> tuple[float, int]:
    """Train a candidate outside of each fold; return its mean error in them, and the epochs."""
    from sklearn.model_selection import KFold

    import trainlib as tl
    from trainlib.data import Examples

    pool, task, ((x, y), validation) = kept
    candidate, options = job
    errors, epochs = [], 0
    for rows, held_out in KFold(FOLDS).split(x):
        part = task._replace(
            train=Examples(x[rows], y[rows]),
            validation=Examples(*validation),
            test=Examples(x[held_out], y[held_out]),
        )
        result = tl.run_trial(_experiment(candidate, options), part, pool=pool)
        assert result.test is not None
        errors.append(result.test["loss"])
        epochs += len(result.history)
    return float(np.mean(errors)), epochs


def _experiment(candidate: Candidate, options: Options) -> Any:
    """Return the configuration of a candidate."""
    import trainlib as tl

    return tl.ExperimentConfig(
        dataset="california_housing",
        data=tl.DataConfig(preprocess="none"),
        model=_model(candidate),
        optimizer=tl.config("sgd", learning_rate=candidate.learning_rate),
        monitors=[tl.config("early_stop", patience=PATIENCE)],
        batch_size=BATCH,
        epochs=options.epochs,
        seed=options.seed,
    )


def _model(candidate: Candidate) -> Any:
    import trainlib as tl

    return tl.config(
        "mlp", hidden=[candidate.width] * candidate.depth, initializer="glorot_uniform"
    )


class _CountedEpochs:
    """Counts epochs over the fits of a search, which copies its estimators."""

    total = 0

    def add(self, epochs: int) -> None:
        """Add the epochs of a fit."""
        self.total += epochs


CONTENDERS: dict[str, Callable[[Options], Found]] = {
    "keras": by_keras,
    "estimator": by_estimator,
    "trials": by_trials,
}


def run(name: str, options: Options) -> dict[str, Any]:
    """Run a contender in a process, and return its result with the seconds from start to end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    command = [sys.executable, __file__, f"--one={name}", *_flags(options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "seconds": seconds, "cpu_seconds": cpu}


def _flags(options: Options) -> list[str]:
    return [f"--{name}={value}" for name, value in options._asdict().items()]


def main() -> None:
    """Run the contenders one after another, and print their results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--contenders", default=",".join(CONTENDERS), help="Which to run.")
    parser.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    for name, default in Options()._asdict().items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--output", type=Path, help="File to write the results to, as JSON.")
    given = parser.parse_args()
    options = Options(given.candidates, given.epochs, given.seed)
    if given.one:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        print(json.dumps(CONTENDERS[given.one](options)._asdict()))
        return
    results: dict[str, dict[str, Any]] = {}
    for name in given.contenders.split(","):
        results[name] = found = run(name, options)
        best = np.nanmin(found["errors"])
        print(
            f"{name}: {found['seconds']:.1f} s, {found['cpu_seconds']:.1f} CPU s, "
            f"{found['epochs']} epochs, best MSE {best:.4f}",
            flush=True,
        )
        print("  MSE by candidate:", " ".join(f"{x:.4f}" for x in found["errors"]), flush=True)
    for name in results.keys() - {"keras"} if "keras" in results else ():
        ratios = {
            unit: results["keras"][unit] / results[name][unit]
            for unit in ("seconds", "cpu_seconds")
        }
        print(f"{name}: {ratios['seconds']:.1f} times as fast, CPU {ratios['cpu_seconds']:.1f}")
    if given.output:
        given.output.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()

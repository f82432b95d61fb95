"""Time a random search with cross-validation: Keras and trainlib through scikit-learn, `tl.tune`.

    python benchmarks/search.py --output=search.json
    python benchmarks/search.py --contenders=estimator,tune --rounds=3 --output=search.json

The search is for a regression net on California housing: 0 to 3 hidden layers of 1 to 100 units,
and a learning rate with the density 1/x from 3e-4 to 3e-2. There are ten candidates and three
folds. SGD on batches of 32 trains up to 100 epochs, and stops after 10 epochs without improvement
on a tenth of the training examples of a fold, with the parameters of the best epoch. All contenders
train the same candidates from the same distributions of initial weights, on the same examples of
each fold. A search is timed from its call to its return, each in a process of its own. Then the
best candidate is trained again on all folds, and evaluated on the test examples; this is not timed.

keras: `model.fit` in an estimator of scikit-learn, in `GridSearchCV` over the candidates.
estimator: `tl.estimators.TrainlibRegressor` in the same.
tune: `tl.tune` with the random sampler, which draws these candidates, and two processes. Their
    start is in its time.

After `keras.utils.set_random_seed`, Keras takes the examples in the same order in every epoch. Its
validation losses then vary less from epoch to epoch, and fewer of its fits stop early: compare the
steps a second too.

The output file keeps the results of contenders that were run before; the table shows them all.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FOLDS, BATCH, PATIENCE, JOBS = 3, 32, 10, 2
HELD_OUT = 0.1
"""Fraction of the training examples of a fold by which training stops early."""
TRAINING, TESTED = 11_610, 5_160
"""Examples for the folds and for the test."""
SPACE = "depth=int(0,3); width=int(1,100); learning_rate=log(3e-4,3e-2)"
QUICK = {"candidates": 2, "epochs": 2}


class Options(NamedTuple):
    """What all contenders do.

    Attributes:
        candidates: number of candidates.
        epochs: largest number of epochs of a fit.
        seed: of the candidates, the folds and the fits.
    """

    candidates: int = 10
    epochs: int = 100
    seed: int = 42


class Found(NamedTuple):
    """Result of a contender.

    Attributes:
        errors: cross-validated mean squared error by candidate.
        epochs: epochs of all fits.
        seconds: duration of the search.
        cpu_seconds: processor time of the search, in all processes.
        test: mean squared error of the best candidate on the test examples.
    """

    errors: list[float]
    epochs: int
    seconds: float
    cpu_seconds: float
    test: float


def housing() -> dict[str, np.ndarray]:
    """Return the examples, columns standardized and clipped as trainlib does by default."""
    import trainlib as tl

    dataset = tl.data.load_dataset("california_housing")
    x = np.concatenate([dataset.train.x, dataset.test.x]).astype(np.float32)
    y = np.concatenate([dataset.train.y, dataset.test.y]).ravel().astype(np.float32)
    order = np.random.default_rng(42).permutation(len(x))[: TRAINING + TESTED]
    x, y = x[order], y[order]
    x = np.clip((x - x[:TRAINING].mean(0)) / x[:TRAINING].std(0), -10, 10)
    return {
        "x_train": x[:TRAINING],
        "y_train": y[:TRAINING],
        "x_test": x[TRAINING:],
        "y_test": y[TRAINING:],
    }


def experiment(options: Options) -> Any:
    """Return the configuration that the candidates vary."""
    import trainlib as tl

    return tl.ExperimentConfig(
        dataset="search:housing",
        code_path=str(Path(__file__).parent),
        data=tl.DataConfig(preprocess="none", validation_split=HELD_OUT),
        metrics=(),
        model=tl.config("mlp", depth=0, width=1, initializer="glorot_uniform"),
        optimizer="sgd",
        monitors=[tl.config("early_stop", patience=PATIENCE, restore_best_weights=True)],
        batch_size=BATCH,
        epochs=options.epochs,
        seed=options.seed,
        report=False,
    )


def candidates(options: Options) -> list[dict[str, Any]]:
    """Return the candidates, as the random sampler of `tl.tune` draws them."""
    import optuna

    from trainlib.experiment.search.samplers import make_sampler
    from trainlib.experiment.search.space_text import parse_space
    from trainlib.experiment.search.study import suggest

    study = optuna.create_study(sampler=make_sampler("random", options.seed, ()))
    drawn = []
    for _ in range(options.candidates):
        trial = study.ask()
        drawn.append({p.name: suggest(trial, p) for p in parse_space(SPACE).parameters})
    return drawn


def by_keras(options: Options) -> Found:
    """Search by `model.fit`."""
    import keras
    from sklearn.base import BaseEstimator, RegressorMixin

    from trainlib.data.examples import split_indices

    class Regressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
        """A net of Keras as an estimator."""

        def __init__(self, depth: int = 1, width: int = 30, learning_rate: float = 0.01) -> None:
            self.depth, self.width, self.learning_rate = depth, width, learning_rate

        def fit(self, X: np.ndarray, y: np.ndarray) -> Any:
            keras.utils.set_random_seed(options.seed)
            kept, held_out = split_indices(len(X), HELD_OUT, options.seed)
            hidden = [keras.layers.Dense(self.width, "relu") for _ in range(self.depth)]
            layers = [keras.Input(X.shape[1:]), *hidden, keras.layers.Dense(1)]
            self.model_ = keras.Sequential(layers)
            self.model_.compile(keras.optimizers.SGD(self.learning_rate), "mse")
            stopping = keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
            history = self.model_.fit(
                X[kept],
                y[kept],
                batch_size=BATCH,
                epochs=options.epochs,
                validation_data=(X[held_out], y[held_out]),
                callbacks=[stopping],
                verbose=0,
            )
            self.n_iter_ = len(history.epoch)
            return self

        def predict(self, X: np.ndarray) -> np.ndarray:
            return np.asarray(self.model_.predict(X, verbose=0))[:, 0]

    return _by_scikit_learn(Regressor, options)


def by_estimator(options: Options) -> Found:
    """Search by the estimator of trainlib."""
    import trainlib as tl

    return _by_scikit_learn(
        tl.estimators.TrainlibRegressor,
        options,
        config=experiment(options),
        early_stopping=True,
        patience=PATIENCE,
        validation_fraction=HELD_OUT,
        random_state=options.seed,
    )


def _by_scikit_learn(kind: type, options: Options, **params: Any) -> Found:
    """Search by an estimator of scikit-learn, whose fits set `n_iter_`.

    Args:
        kind: class of the estimator.
        options: what all contenders do.
        **params: parameters of the estimator that all candidates have.
    """
    from sklearn.metrics import mean_squared_error
    from sklearn.model_selection import GridSearchCV, KFold

    epochs: list[int] = []

    def fit(self: Any, X: np.ndarray, y: np.ndarray) -> Any:
        super(estimator, self).fit(X, y)  # type: ignore[misc]
        epochs.append(self.n_iter_)
        return self

    estimator = type("Counting", (kind,), {"fit": fit, "__doc__": "Counts epochs."})
    arrays = housing()
    grid = [{name: [x] for name, x in one.items()} for one in candidates(options)]
    search = GridSearchCV(
        estimator(**params),
        grid,
        scoring="neg_mean_squared_error",
        cv=KFold(FOLDS, shuffle=True, random_state=options.seed),
        refit=False,
        error_score="raise",
    )
    timer = Timer()
    search.fit(arrays["x_train"], arrays["y_train"])
    seconds, count = timer.read(), sum(epochs)
    best = estimator(**params, **search.best_params_).fit(arrays["x_train"], arrays["y_train"])
    test = mean_squared_error(arrays["y_test"], best.predict(arrays["x_test"]))
    errors = [float(-x) for x in search.cv_results_["mean_test_score"]]
    return Found(errors, count, *seconds, float(test))


def by_tune(options: Options) -> Found:
    """Search by `tl.tune`."""
    import trainlib as tl

    of_search = tl.TuneConfig(
        trials=options.candidates, sampler="random", folds=FOLDS, jobs=JOBS, refit=False
    )
    config, tune = experiment(options), tl.tune  # which imports TensorFlow
    with tempfile.TemporaryDirectory() as folder:
        timer = Timer()
        result = tune(config, SPACE, of_search, run_dir=Path(folder) / "search")
        seconds = timer.read()
    errors = [float("nan") if x.value is None else x.value for x in result.trials]
    test = tl.run_trial(result.config).test
    assert test is not None
    return Found(errors, sum(x.epochs for x in result.trials), *seconds, test["loss"])


class Timer:
    """Measures the seconds since it was made, and the processor time of all processes."""

    def __init__(self) -> None:
        self._began, self._cpu_began = time.perf_counter(), self._cpu()

    def read(self) -> tuple[float, float]:
        """Return both."""
        return time.perf_counter() - self._began, self._cpu() - self._cpu_began

    @staticmethod
    def _cpu() -> float:
        used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(x.ru_utime + x.ru_stime for x in used)


CONTENDERS: dict[str, Callable[[Options], Found]] = {
    "keras": by_keras,
    "estimator": by_estimator,
    "tune": by_tune,
}


def run(name: str, options: Options) -> dict[str, Any]:
    """Run a contender in a process, and return its result."""
    flags = [f"--{key}={value}" for key, value in options._asdict().items()]
    command = [sys.executable, __file__, f"--one={name}", *flags]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Return the results as a table: of several rounds, the fastest one."""
    steps = -(-round((1 - HELD_OUT) * TRAINING * (1 - 1 / FOLDS)) // BATCH)
    columns = "search | seconds | CPU seconds | epochs | steps/s | CV MSE | test MSE | speed"
    lines = [f"| {columns} |", "| --- " * 8 + "|"]
    fastest = {name: min(rounds, key=lambda x: x["seconds"]) for name, rounds in results.items()}
    for name, x in fastest.items():
        speed = ""
        if "keras" in fastest:
            speed = f"{fastest['keras']['seconds'] / x['seconds']:.1f}x"
        lines.append(
            f"| {name} | {x['seconds']:.1f} | {x['cpu_seconds']:.1f} | {x['epochs']:,} | "
            f"{x['epochs'] * steps / x['seconds']:,.0f} | {np.nanmin(x['errors']):.4f} | "
            f"{x['test']:.4f} | {speed} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the contenders in turns, and print their results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--contenders", default=",".join(CONTENDERS), help="Which to run.")
    parser.add_argument("--rounds", type=int, default=1, help="How often each but keras runs.")
    parser.add_argument("--output", type=Path, help="JSON file of results, which are added to it.")
    parser.add_argument("--quick", action="store_true", help=f"A small search: {QUICK}.")
    parser.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    for name, default in Options()._asdict().items():
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    options = Options(given.candidates, given.epochs, given.seed)
    if given.quick:
        options = options._replace(**QUICK)
    if given.one:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        print(json.dumps(CONTENDERS[given.one](options)._asdict()))
        return
    results: dict[str, list[dict[str, Any]]] = {}
    if given.output and given.output.exists():
        results = json.loads(given.output.read_text())
    names = given.contenders.split(",")
    results |= {name: [] for name in names}
    show = functools.partial(print, flush=True)
    for turn in range(given.rounds):
        for name in names:
            if turn == 0 or name != "keras":
                results[name].append(run(name, options))
                show(name, json.dumps(results[name][-1]))
        if given.output:
            given.output.write_text(json.dumps(results, indent=2))
    show(table(results))


if __name__ == "__main__":
    main()

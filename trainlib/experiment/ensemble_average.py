"""The average of the trained members of an ensemble: its weights, its results and its files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainlib.experiment import run_folder
from trainlib.experiment.calibration import calibrate_models
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.ensemble_members import member_folder
from trainlib.experiment.ensemble_scores import as_json, likelihood_of, scores_of
from trainlib.experiment.model_building import Models, as_seen_by_loss
from trainlib.experiment.reporting import write_ensemble_report
from trainlib.experiment.result import ExperimentResult, Log
from trainlib.experiment.run import write_model_and_summary
from trainlib.experiment.saved_run import build_evaluator, load_models, read_saved_run
from trainlib.experiment.task import PARTS, Task
from trainlib.report.figures import require_matplotlib
from trainlib.tools.calibration import Calibration
from trainlib.tools.ensemble_model import ensemble_model
from trainlib.tools.ensembling import average_predictions, greedy_selection, simplex_weights
from trainlib.training.callback import Results
from trainlib.training.display import format_results
from trainlib.training.evaluator import Evaluator
from trainlib.training.functional_model import as_functional_model
from trainlib.training.paths import shown


@dataclass(frozen=True)
class EnsembleResult:
    """Result of an ensemble.

    Attributes:
        config: the configuration, with "auto" resolved as in the first member.
        folder: the run folder; `members` in it has a folder for each member.
        weights: weight of each member.
        train: loss and metrics of the ensemble on the training part.
        validation: loss and metrics on the validation part; None if there is none.
        test: loss and metrics on the test part.
        scores: scores of the members and of their average, before calibration, by part of the
            data, as in `summary.json`.
        model: the Keras model of the ensemble.
    """

    config: ExperimentConfig
    folder: Path
    weights: list[float]
    train: Results | None
    validation: Results | None
    test: Results | None
    scores: dict[str, Any]
    model: Any


def average_members(
    folder: Path, config: ExperimentConfig, task: Task, log: Log, safe_mode: bool = False
) -> EnsembleResult:
    """Average the members of an ensemble, evaluate the average, and write its files.

    Args:
        folder: folder of the ensemble, in which all members are trained.
        config: configuration of the ensemble.
        task: data of the ensemble, with its loss and targets.
        log: function called with lines on the weights and the temperature.
        safe_mode: whether to refuse models of members that contain code. Default: False, this
            process has written them.
    """
    runs = [read_saved_run(member_folder(folder, i)) for i in range(config.ensemble.members)]
    models = [load_models(run, task, safe_mode).full for run in runs]
    config = _settled(config, runs[0].config)
    scored = [part for part in ("validation", "test") if getattr(task, part) is not None]
    each = [_predict(model, config, task, scored) for model in models]
    predictions = {part: np.stack([found[part] for found in each]) for part in scored}
    weights = _weights(config, task, predictions)
    full = ensemble_model(models, weights, config.ensemble.average)
    built = as_seen_by_loss(full, task, config.from_logits)
    calibration: dict[str, Calibration] = {}
    if config.calibrate:
        built, calibration = calibrate_models(config, task, built)
    scores = {
        part: as_json(
            scores_of(task, f, _average(config, task, f, weights), task.part(part).y, weights)
        )
        for part, f in predictions.items()
    }
    summaries = [dict(run.summary) for run in runs]
    result = _result(folder, config, task, built, summaries, calibration)
    run_folder.write_config(folder, config)
    record = {"weights": weights, "scores": scores}
    epochs = sum(x["epochs"] for x in summaries)
    write_model_and_summary(folder, task, result, {"epochs": epochs, "ensemble": record})
    if len(set(weights)) > 1:
        log(f"weights: {', '.join(f'{w:.3g}' for w in weights)}")
    if calibration:
        log(f"temperature: {next(iter(calibration.values())).temperature:.4g}")
    if config.report:
        _write_report(folder, config, task, built, log)
    parts = {part: getattr(result, part) for part in PARTS}
    return EnsembleResult(config, folder, weights, **parts, scores=scores, model=built.full)


def _settled(config: ExperimentConfig, first: ExperimentConfig) -> ExperimentConfig:
    """Return the configuration of an ensemble, with "auto" resolved as in its first member."""
    return dataclasses.replace(
        config,
        execution=first.execution,
        data=dataclasses.replace(first.data, split_seed=config.data.split_seed),
        model=first.model,
        norms=first.norms,
        imports=first.imports,
        code_path=first.code_path,
    )


def _predict(
    model: Any, config: ExperimentConfig, task: Task, parts: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return a model's predictions for parts of the data, [N, K].

    Args:
        model: the Keras model.
        config: configuration of the ensemble.
        task: data of the ensemble, with its loss and targets.
        parts: names of the parts.
    """
    evaluator = Evaluator(model, precision=config.precision)
    found = {}
    for part in parts:
        examples = task.part(part)
        y = evaluator.predict(task.arrays(examples)[0])
        found[part] = np.asarray(y, np.float64).reshape(examples.size, -1)
    return found


def _average(
    config: ExperimentConfig, task: Task, members: np.ndarray, weights: Sequence[float]
) -> np.ndarray:
    """Return the predictions of the ensemble, [N, K], given those of its members."""
    loss = likelihood_of(task) or "squared_error"
    return average_predictions(members, weights, average=config.ensemble.average, loss=loss)


def _weights(
    config: ExperimentConfig, task: Task, predictions: dict[str, np.ndarray]
) -> list[float]:
    """Return the weights of the members: equal, or fitted on the validation data."""
    ensemble = config.ensemble
    if ensemble.weights == "equal":
        return [1 / ensemble.members] * ensemble.members
    fit = {"simplex": simplex_weights, "greedy": greedy_selection}[ensemble.weights]
    y, loss = task.part("validation").y, str(likelihood_of(task))
    found = fit(predictions["validation"], y, average=ensemble.average, loss=loss)
    return [float(w) for w in found.weights]


def _result(
    folder: Path,
    config: ExperimentConfig,
    task: Task,
    built: Models,
    summaries: list[dict[str, Any]],
    calibration: dict[str, Calibration],
) -> ExperimentResult:
    """Return the result of the ensemble as that of one run."""
    evaluator = build_evaluator(config, task, built)
    results: dict[str, Any] = {
        part: None if (x := getattr(task, part)) is None else evaluator.evaluate(task.arrays(x))
        for part in PARTS
    }
    params = as_functional_model(built.trained, precision=config.precision).params
    return ExperimentResult(
        config=config,
        folder=folder,
        history=[],
        **results,
        steps=sum(x["steps"] for x in summaries),
        seconds=round(sum(x["seconds"] for x in summaries), 3),
        execution=config.execution,
        params_sha256=run_folder.params_sha256(params),
        model=built.full,
        calibration=calibration,
    )


def result_lines(result: EnsembleResult) -> Iterator[str]:
    """Yield lines on the results of an ensemble, and its gain over the members on test examples."""
    for name, score in result.scores["test"].items():
        if isinstance(score, dict):
            words = name.replace("_", " ")
            yield (
                f"test {words}: members {score['mean']:.4f} +- {score['std']:.4f}, "
                f"ensemble {score['ensemble']:.4f}"
            )
    yield f"test: {format_results(result.test or {})}"
    yield f"run folder: {shown(result.folder)}"


def _write_report(
    folder: Path, config: ExperimentConfig, task: Task, built: Models, log: Log
) -> None:
    """Write the report if matplotlib is installed; errors in it are logged, not raised."""
    try:
        require_matplotlib()
    except ImportError:
        return
    try:
        write_ensemble_report(folder, config, task, built, folder)
    except Exception as error:
        log(f"no report: {' '.join(str(error).split())}")

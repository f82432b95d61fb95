"""`predict_run` and `mc_predict_run`: the predictions of a saved run's model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from trainlib.core.types import Tree
from trainlib.data import load_examples
from trainlib.data.files import is_table, load_inputs
from trainlib.data.image_folder import load_images
from trainlib.data.image_listing import image_files, is_images
from trainlib.experiment.custom_model import check_input
from trainlib.experiment.dataset_loading import data_dtype, takes_sequences
from trainlib.experiment.model_signature import (
    PLAIN_SIGNATURE,
    columns_by_name,
    inputs_of,
    model_signature,
    shapes_of,
)
from trainlib.experiment.result import Log
from trainlib.experiment.run_evaluation import check_vocabulary
from trainlib.experiment.saved_run import SavedRun, build_saved_task, load_run_model
from trainlib.models.signature import ModelSignature
from trainlib.tools.uncertainty import UncertainPrediction, mc_predict
from trainlib.training.evaluator import Evaluator
from trainlib.training.paths import expanded, shown

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SampleOptions(TypedDict, total=False):
    """Options of `tl.mc_predict` that do not depend on the model."""

    samples: int
    masks: str
    seed: int


def image_names(run: SavedRun, data: str | None) -> tuple[str, ...]:
    """Return the image files for which `predict_run` predicts; () for other data."""
    return tuple(image_files(data)) if data and _takes_images(run, data) else ()


def _takes_images(run: SavedRun, data: str) -> bool:
    """Return whether the data for a prediction are image files.

    Raises:
        ValueError: they are, but the model was not trained on a folder of images.
    """
    if not is_images(data):
        return False
    if run.config.data.image_size is None:
        raise ValueError(
            f"{shown(data)} holds images, but the run was not trained on a folder of images; give "
            "an .npz with an array x"
        )
    return True


def predict_run(
    run: SavedRun,
    data: str | None = None,
    safe_mode: bool = True,
    log: Log = lambda line: None,
) -> np.ndarray | dict[str, np.ndarray]:
    """Return the predictions of a run's model: probabilities or scores [N, K], or numbers [N, 1].

    A model with several outputs gives a dict of such arrays.

    Args:
        run: the run, possibly with other data, as for `with_data`.
        data: path of an `.npz` file with an array x, or x_NAME for each of several inputs; of a
            table with the columns of the model; or of a folder of images; or paths of images,
            comma-separated. Default: None, the test examples of the run.
        safe_mode: whether to refuse a file that contains code. Default: True.
        log: function called with lines on differences from the training data. Default: not called.

    Raises:
        ValueError, OSError: the data are missing or damaged, or do not suit the model.
    """
    model, x = _model_and_inputs(run, data, safe_mode, log)
    evaluator = Evaluator(model, precision=run.config.precision, execution=run.config.execution)
    predictions: np.ndarray | dict[str, np.ndarray] = evaluator.predict(x)
    if not isinstance(predictions, Mapping):
        return predictions
    return {name: predictions[name] for name in run.outputs or predictions}


def mc_predict_run(
    run: SavedRun,
    data: str | None = None,
    safe_mode: bool = True,
    log: Log = lambda line: None,
    **options: Unpack[SampleOptions],
) -> UncertainPrediction:
    """Return the predictions of a run's model with their uncertainty, by `tl.mc_predict`.

    Args:
        run, data, safe_mode, log: as for `predict_run`.
        **options: `samples`, `masks` and `seed`, as for `tl.mc_predict`.

    Raises:
        ValueError, OSError: as for `predict_run`; or the model has no dropout.
    """
    model, x = _model_and_inputs(run, data, safe_mode, log)
    if run.score_name != "p" or not run.classes:
        return mc_predict(model, x, **options)
    return mc_predict(model, x, activation=run.activation, from_logits=False, **options)


def _model_and_inputs(
    run: SavedRun, data: str | None, safe_mode: bool, log: Log
) -> tuple[Any, Tree]:
    """Return a run's model and the inputs for its predictions."""
    x = load_run_inputs(run, data, log)
    model = load_run_model(run, safe_mode)
    signature = run_signature(run, x)
    check_input(model, shapes_of(signature, x), data or run.config.dataset)
    return model, inputs_of(signature, x)


def load_run_inputs(run: SavedRun, data: str | None = None, log: Log = lambda line: None) -> Any:
    """Return the inputs for predictions, before they are divided among the inputs of the model.

    Args:
        run, data, log: as for `predict_run`.

    Raises:
        ValueError, OSError: the data are missing or damaged.
    """
    config = run.config
    if data and is_table(data) and run.preprocessing is not None:
        x, notes = load_inputs(expanded(data), run.preprocessing, data_dtype(config))
        for line in notes:
            log(line)
        return x
    if data and _takes_images(run, data):
        return load_images(image_files(data), run.images)
    if data:
        found = load_examples(data, dtype=data_dtype(config), sequences=takes_sequences(config))
        check_vocabulary(run, found, data)
        return found
    return build_saved_task(run).part("test").x


def run_signature(run: SavedRun, x: Any) -> ModelSignature:
    """Return the signature of a run's model, given its inputs."""
    columns = columns_by_name(run.feature_names, run.preprocessing)
    return model_signature(run.config, shapes_of(PLAIN_SIGNATURE, x), columns)

"""`export_run`: write a run's model for programs without trainlib."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainlib.core.checks import check_choice
from trainlib.experiment.export_formats import EXPORTERS, inexpressible
from trainlib.experiment.result import Log
from trainlib.experiment.saved_run import load_run_model, read_saved_run, with_data
from trainlib.experiment.serving import Serving, build_serving
from trainlib.interop.parameters import load_arrays, model_arrays, save_parameters
from trainlib.training.files import check_can_write, write_atomically
from trainlib.training.paths import existing_part, expanded, shown

FORMATS = ("saved_model", "tflite", "onnx", "safetensors", "npz")
PARAMETERS = ("safetensors", "npz")
"""Formats with parameters only, without the model."""
TOLERANCE = 1e-4
"""Largest accepted difference from the run's predictions, relative to max(1, their largest)."""
_PACKAGES = {
    "onnx": ("tf2onnx", "onnx", "onnxruntime"),
    "safetensors": ("safetensors",),
}


class Exported(NamedTuple):
    """Result of `export_run`.

    Attributes:
        path: the file, or the folder of a SavedModel.
        size: size in bytes.
        examples: number of examples predicted by the exported model; 0 for parameters.
        difference: largest absolute difference from the predictions of the run's model.
        metadata: inputs, outputs and classes of the exported model; {} for parameters.
    """

    path: Path
    size: int
    examples: int
    difference: float
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class ExportData:
    """Examples for which the predictions of an exported model are compared with the run's model.

    Args:
        data: path of an .npz file, a table, or images, as for `predict`; the first 64 examples are
            taken. Default: None, the test examples of the run; for a table all of its rows.
        data_dir: folder that is searched first for the files of the run's data set. Default: None.

    Example:
        >>> tl.ExportData("new.npz")
        ExportData(data='new.npz', data_dir=None)
    """

    data: str | None = None
    data_dir: str | None = None


def export_run(
    run_dir: str | os.PathLike[str],
    path: str | os.PathLike[str],
    format: str = "saved_model",
    *,
    examples: ExportData = ExportData(),
    code_path: str | None = None,
    safe_mode: bool = True,
    log: Log = lambda line: None,
) -> Exported:
    """Write the model of a finished run for other programs, and compare its predictions.

    The exported model takes raw values: pixels, numbers, or the cells of a table by the names of
    its columns. It returns probabilities and, in a SavedModel, the name of the most likely class.
    Its inputs, outputs and classes are described by JSON: the file `assets.extra/trainlib.json` of
    a SavedModel, the file `trainlib.json` of a .tflite, which is also an archive, and the metadata
    "trainlib" of an .onnx. Before the export gets its final name it is loaded and predicts up to 64
    examples.

    Args:
        run_dir: folder of the run.
        path: file or folder to write; it must not exist. Missing parent folders are created.
        format: "saved_model" (default), for TensorFlow Serving; "tflite", for LiteRT; "onnx", which
            needs the packages tf2onnx, onnx and onnxruntime; or parameters only, "safetensors" or
            "npz", which `load_parameters` reads.
        examples: examples for the comparison. Default: `ExportData()`, the run's test examples, or
            the rows of its table.
        code_path: folders of custom modules. Default: None, the folders that the run recorded.
        safe_mode: whether to refuse files that contain code. Default: True.
        log: function called with lines on differences from the training data. Default: not called.

    Returns:
        An `Exported`.

    Raises:
        ValueError, OSError: the run is not finished, the path exists or lacks the suffix of the
            format, data or a package are missing, the format cannot express the model, or the
            exported model predicts something else.

    Example:
        >>> config = tl.ExperimentConfig(epochs=1, report=False)
        >>> result = tl.run_experiment(config, "runs/exported")
        >>> exported = tl.export_run("runs/exported", "digits.npz", "npz")
        >>> exported.path.name
        'digits.npz'
    """
    target = expanded(path)
    check_target(target, format)
    run = with_data(read_saved_run(expanded(run_dir), code_path), data_dir=examples.data_dir)
    if format in PARAMETERS:
        model = load_run_model(run, safe_mode)
        with _new_folder(target.absolute().parent):
            return _write_parameters(model, target)
    serving = build_serving(
        run, examples.data, text=format == "saved_model", safe_mode=safe_mode, log=log
    )
    found: list[float] = []

    def write(temporary: Path) -> None:
        EXPORTERS[format].write(serving, temporary)
        found.append(_compare(serving, _predictions(serving, temporary, format), format))

    with _new_folder(target.absolute().parent):
        write_atomically(target, write)
    count = len(next(iter(serving.examples.values())))
    return Exported(target, _size(target), count, found[0], serving.metadata)


def check_target(path: Path, format: str) -> None:
    """Raise `ValueError` unless a format can be written to a path."""
    check_choice("format", format, FORMATS)
    suffix = "" if format == "saved_model" else f".{format}"
    if not path.name.endswith(suffix):
        raise ValueError(f"out {shown(path)}: a file of format {format} ends in {suffix}")
    if path.exists():
        raise ValueError(f"out {shown(path)}: exists already; choose another")
    check_can_write("out", path, in_new_folder=True)
    missing = [x for x in _PACKAGES.get(format, ()) if importlib.util.find_spec(x) is None]
    if missing:
        packages = " ".join(missing)
        raise ValueError(f"format {format} needs packages: pip install {packages}")


@contextlib.contextmanager
def _new_folder(path: Path) -> Iterator[None]:
    """Make a folder with its parents; remove those that were new if an error ends the context."""
    existed = existing_part(path)
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for folder in (path, *path.parents):
            if folder == existed:
                break
            folder.rmdir()
        raise


def _write_parameters(model: Any, path: Path) -> Exported:
    """Write the parameters of a model, read them again, and compare."""
    save_parameters(model, path)
    arrays, read = model_arrays(model), load_arrays(path)
    same = arrays.keys() == read.keys() and all(
        np.array_equal(x.astype(read[n].dtype), read[n], equal_nan=True) for n, x in arrays.items()
    )
    if not same:
        path.unlink()
        raise ValueError(f"out {shown(path)}: what was written differs from the model's parameters")
    return Exported(path, _size(path), 0, 0.0, {})


def _predictions(serving: Serving, path: Path, format: str) -> dict[str, np.ndarray]:
    """Load an exported model, and return its predictions.

    Raises:
        ValueError: it cannot be loaded or run.
    """
    try:
        predict = EXPORTERS[format].load(path)
        return {name: np.asarray(x) for name, x in predict(serving.examples).items()}
    except Exception as error:  # each runtime raises different types
        raise inexpressible(format, error) from error


def _compare(serving: Serving, found: Mapping[str, np.ndarray], format: str) -> float:
    """Return the largest difference between predictions.

    Raises:
        ValueError: the difference is too large, or an output is missing.
    """
    largest = 0.0
    for name, expected in serving.expected.items():
        if name not in found or found[name].shape != expected.shape:
            raise ValueError(f"format {format}: the exported model has no output {name!r} like it")
        difference = float(np.max(np.abs(found[name] - expected)))
        if not difference <= TOLERANCE * max(1.0, float(np.max(np.abs(expected)))):
            raise ValueError(
                f"format {format}: the exported model's {name} differ by {difference:.2g} from the "
                "run's, so that it is not written; --format=saved_model keeps every operation"
            )
        largest = max(largest, difference)
    return largest


def _size(path: Path) -> int:
    """Return the bytes of a file, or of the files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())

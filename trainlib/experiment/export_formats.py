"""The formats of exported models: the writer and the reader of each."""

from __future__ import annotations

import importlib.util
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.experiment.serving import Serving
from trainlib.training.files import as_json
from trainlib.training.keras_private import all_layers

METADATA = "trainlib.json"
_LABELS = "labels.txt"
Predict = Callable[[Mapping[str, np.ndarray]], Mapping[str, Any]]


def inexpressible(format: str, error: Exception) -> ValueError:
    """Return the error for a model that a format cannot express."""
    text = str(error)
    operations = re.findall(r"failed to legalize operation '([\w.]+)'|, (\w+), \"\", -1\)", text)
    named = dict.fromkeys(first or second for first, second in operations)
    reason = f"it has {', '.join(named)}" if named else " ".join(text.split())[:200]
    return ValueError(
        f"the model cannot be expressed as {format}: {reason}; --format=saved_model keeps every "
        "operation"
    )


def _export(serving: Serving, path: Path, format: str, **options: Any) -> None:
    """Write a model by Keras's exporter of a format.

    Raises:
        ValueError: the format cannot express an operation of the model.
    """
    signature = [serving.signature]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            serving.model.export(
                str(path), format=format, input_signature=signature, verbose=False, **options
            )
    except Exception as error:  # each converter raises different types
        raise inexpressible(path.suffix.lstrip(".") or "saved_model", error) from error


def _write_saved_model(serving: Serving, path: Path) -> None:
    _export(serving, path, "tf_saved_model")
    folder = path / "assets.extra"
    folder.mkdir()
    (folder / METADATA).write_text(_text(serving), encoding="utf-8")


def _load_saved_model(path: Path) -> Predict:
    loaded = tf.saved_model.load(str(path))

    def predict(examples: Mapping[str, np.ndarray]) -> Mapping[str, Any]:
        serve = loaded.signatures["serving_default"]
        found = serve(**{name: tf.constant(x) for name, x in examples.items()})
        return {name: x.numpy() for name, x in found.items()}

    return predict


def _write_tflite(serving: Serving, path: Path) -> None:
    builtin = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    _export(serving, path, "litert", target_spec=builtin)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA, _text(serving))
        if len(serving.classes) == 1:
            (names,) = serving.classes.values()
            archive.writestr(_LABELS, "".join(f"{name}\n" for name in names))


def _load_tflite(path: Path) -> Predict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runner = _interpreter()(model_path=str(path)).get_signature_runner("serving_default")
    return lambda examples: runner(**examples)


def _interpreter() -> Any:
    """Return the interpreter of LiteRT, if that is installed, or TensorFlow's."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        return tf.lite.Interpreter
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter


def _write_onnx(serving: Serving, path: Path) -> None:
    import onnx

    _make_constants(serving.plain)
    _export(serving, path, "onnx")
    model = onnx.load(str(path))
    entry = model.metadata_props.add()
    entry.key, entry.value = "trainlib", _text(serving)
    onnx.save(model, str(path))


def _make_constants(model: Any) -> None:
    """Turn the tensors that layers hold into arrays: tf2onnx would treat them as inputs."""
    for layer in all_layers(model):
        for name, value in list(vars(layer).items()):
            if tf.is_tensor(value):
                setattr(layer, name, value.numpy())


def _load_onnx(path: Path) -> Predict:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]

    def predict(examples: Mapping[str, np.ndarray]) -> Mapping[str, Any]:
        return dict(zip(names, session.run(names, dict(examples)), strict=True))

    return predict


def _text(serving: Serving) -> str:
    """Return the metadata of a model as JSON."""
    return as_json(serving.metadata, indent=2) + "\n"


class Exporter(NamedTuple):
    """The functions that write and load a format."""

    write: Callable[[Serving, Path], None]
    load: Callable[[Path], Predict]


EXPORTERS = {
    "saved_model": Exporter(_write_saved_model, _load_saved_model),
    "tflite": Exporter(_write_tflite, _load_tflite),
    "onnx": Exporter(_write_onnx, _load_onnx),
}

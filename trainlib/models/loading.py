"""Models from a `.keras` file and from a function given as `module:function`."""

from __future__ import annotations

import inspect
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from trainlib.data.limits import check_size
from trainlib.training.model_link import check_steps
from trainlib.training.paths import expanded, shown
from trainlib.user_code import import_function, naming_place

MODEL_FILE = "model.keras"
"""Name of the model's file in a run folder."""


def is_custom(name: str) -> bool:
    """Return whether a name is a `.keras` file or `module:function` instead of a key of `MODELS`.

    Args:
        name: the name of a model, as given at a shell.

    Returns:
        True for a name that ends in ".keras" or contains ":".

    Example:
        >>> [tl.models.is_custom(name) for name in ("mlp", "best.keras", "nets:small")]
        [False, True, True]
    """
    return name.endswith(".keras") or ":" in name


def model_file(path: str) -> Path:
    """Return the `.keras` file for a path, which may be that of a run folder.

    Args:
        path: the path; `~` is the home folder.

    Raises:
        ValueError: the folder has no model.
    """
    found = expanded(path)
    if not found.is_dir():
        return found
    if not (found / MODEL_FILE).is_file():
        raise ValueError(
            f"model {shown(path)}: the folder has no {MODEL_FILE}: give that of a finished run"
        )
    return found / MODEL_FILE


def load_model(
    path: str, safe_mode: bool = True, custom_objects: Mapping[str, Any] | None = None
) -> Any:
    """Load the model of a `.keras` file, without compiling it.

    Args:
        path: path of the file; `~` is the home folder.
        safe_mode: whether to refuse code in the file, such as that of a `Lambda` layer. With False,
            loading a file runs the code in it: use it only for files that you trust. Default: True.
        custom_objects: classes of custom layers and other objects by name, if the file needs them
            and they are not registered with Keras. Default: None.

    Returns:
        A `keras.Model`.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file has no Keras model, has code while `safe_mode` is True, or is too large
            for the memory or for `trainlib.data.limits`.

    Example:
        >>> tl.models.mlp((4,), 3, hidden=()).save("linear.keras")
        >>> tl.models.load_model("linear.keras").output_shape
        (None, 3)
    """
    import trainlib.models.custom_layers  # noqa: F401  (registers them with Keras)

    file = expanded(path)
    if not file.is_file():
        raise FileNotFoundError(f"model {shown(path)}: there is no such file")
    try:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is not a zip archive")
        with zipfile.ZipFile(file) as archive:
            check_size(file, sum(member.file_size for member in archive.infolist()))
        return keras.saving.load_model(file, custom_objects, compile=False, safe_mode=safe_mode)
    except Exception as error:
        reason = " ".join(_without_configuration(str(error)).split())
        hint = "; if you trust its author: safe_mode=false" if "unsafe" in reason else ""
        if "Could not locate" in reason:
            hint = "; add its module to imports, and the folder of that to code_path"
        raise ValueError(
            f"model {shown(path)}: not a Keras model that can be loaded: {reason}{hint}"
        ) from error


def _without_configuration(message: str) -> str:
    """Return an error message of Keras without the configuration at its end."""
    text, _, rest = message.partition("config={")
    cause = rest.partition("Exception encountered:")[2]
    text = f"{text} {cause}".partition("Full object config:")[0]
    return text.replace("\x1b[1m", "").replace("\x1b[0m", "")


def keras_objects(module: Any) -> dict[str, Any]:
    """Return the classes and functions of a module that a `.keras` file may use, by name.

    Functions with names of Keras's functions, such as "softmax", are left out: in a file these
    names mean Keras's functions.

    Args:
        module: a custom module.
    """
    kinds = (
        keras.Layer,
        keras.Initializer,
        keras.regularizers.Regularizer,
        keras.constraints.Constraint,
    )
    return {
        name: value
        for name, value in vars(module).items()
        if getattr(value, "__module__", "").partition(".")[0] != "keras"
        and (issubclass(value, kinds) if isinstance(value, type) else _is_own(name, value))
    }


def _is_own(name: str, value: Any) -> bool:
    """Return whether a value is a function whose name Keras does not use."""
    used = (keras.activations, keras.initializers, keras.losses, keras.metrics, keras.ops)
    return inspect.isfunction(value) and not any(hasattr(module, name) for module in used)


def from_function(
    spec: str,
    input_shape: tuple[int, ...] | Mapping[str, tuple[int, ...]],
    outputs: int | Mapping[str, int],
    code_path: str | None = None,
) -> Any:
    """Return the model that a custom function makes from `(input_shape, outputs)`.

    Args:
        spec: module and function, such as "nets:small".
        input_shape: shape of one example; a dict of shapes by name for several inputs.
        outputs: number of units of the output; a dict of them by name for several outputs with
            different targets.
        code_path: folders that are searched for the module, separated as in $PYTHONPATH. Default:
            None, the working directory.

    Returns:
        The `keras.Model` of the function. A model with its own `call` is wrapped in a model that
        begins with its input, or a dict of its inputs by name.

    Raises:
        ValueError: the module or the function does not exist, it does not return a `keras.Model`,
            or the model defines `train_step`, `test_step` or `compute_loss`.

    Example:
        >>> tl.models.from_function("trainlib.models:mlp", (4,), 3).output_shape
        (None, 3)
    """
    model = import_function("model", spec, code_path)(input_shape, outputs)
    if not isinstance(model, keras.Model):
        raise ValueError(f"model {spec}: must return a keras.Model, got {type(model).__name__}")
    check_steps(model)
    if getattr(model, "inputs", None):
        return model
    if isinstance(input_shape, Mapping):
        x: Any = {name: keras.Input(shape, name=name) for name, shape in input_shape.items()}
    else:
        x = keras.Input(input_shape, name="input")
    return keras.Model(x, naming_place(f"model {spec}", model, code_path)(x), name=model.name)

"""Parameters of a Keras model in files, by name: `save_parameters` and `load_parameters`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainlib.data.archives import Array, read_npz, require_file
from trainlib.interop.slot_table import to_array
from trainlib.interop.torch_layers import TORCH_EPSILON, torch_values
from trainlib.interop.torch_modules import StateDict, is_torch_layout
from trainlib.training.files import check_can_write, write_atomically
from trainlib.training.model_variables import SEED_STATE, model_variables
from trainlib.training.paths import expanded, shown

NPZ, SAFETENSORS = ".npz", ".safetensors"
FORMATS = (NPZ, SAFETENSORS)
TORCH = (".pt", ".pth")
_INNER = ("state_dict", "model_state_dict")
"""Keys under which a checkpoint of PyTorch may hold the state dict."""
_SHOWN = 3


def save_parameters(model: Any, path: str | os.PathLike[str]) -> None:
    """Write the parameters of a Keras model, and statistics such as moving means, by their names.

    The names are those of `Trainer`, such as "hidden_1/kernel". States of random generators are
    left out.

    Args:
        model: the model.
        path: a file that ends in ".npz" or, with the package safetensors, ".safetensors". bfloat16
            becomes float32 in an .npz.

    Raises:
        ValueError: another suffix, or the file cannot be written.
        ImportError: safetensors is not installed.

    Example:
        >>> model = tl.models.mlp((4,), 3, hidden=())
        >>> tl.interop.save_parameters(model, "linear.npz")
        >>> sorted(np.load("linear.npz"))
        ['outputs/bias', 'outputs/kernel']
    """
    file = expanded(path)
    check_suffix(file)
    check_can_write("path", file)
    arrays = model_arrays(model)
    if file.suffix == SAFETENSORS:
        save = _safetensors().save_file
        arrays = {name: np.ascontiguousarray(x).reshape(x.shape) for name, x in arrays.items()}
        write_atomically(file, lambda temporary: save(arrays, temporary))
    else:
        plain: dict[str, Any] = {
            n: x.astype(np.float32) if x.dtype.kind == "V" else x for n, x in arrays.items()
        }
        write_atomically(file, lambda temporary: np.savez(temporary, **plain))


def load_parameters(
    model: Any,
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    names: Mapping[str, str] | None = None,
    epsilon: float = TORCH_EPSILON,
) -> dict[str, str]:
    """Assign parameters from a file, or a mapping of arrays by name, to a Keras model.

    The names are those that `save_parameters` writes; or those of a `state_dict` of PyTorch, whose
    layouts are converted: kernels of dense layers and convolutions are transposed, and the batch
    normalizations and the first dense layer after `Flatten` get their rows in the order height,
    width, channels. Layers are matched by name: their own, or that of torchvision's residual
    networks ("layer1.0.conv1"); the others by their order and shapes. The model's Dense, Conv2D and
    BatchNormalization layers are filled; `Normalization` keeps its statistics. Nothing is assigned
    if anything does not fit.

    Args:
        model: the model, built.
        source: a file .npz, .safetensors, or .pt or .pth of PyTorch, which is read without running
            code in it; or arrays or tensors by name, such as `torch_model.state_dict()`.
        names: for a state dict, the PyTorch module of each layer that is not matched, or matched
            wrongly, such as {"hidden_1": "body.0"}. Default: None.
        epsilon: for a state dict, which does not hold it, the epsilon of PyTorch's batch
            normalization, which the layers get. Default: 1e-5, PyTorch's default.

    Returns:
        The name in the source of each parameter, by its name in the model.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, names or shapes differ, the order of equal layers or of
            flattened images is not known, or a convolution pads its input in another way than
            PyTorch; the message says which.
        ImportError: safetensors or PyTorch, which the file needs, is not installed.

    Example:
        >>> model = tl.models.mlp((4,), 3, hidden=(8,))
        >>> state_dict = {
        ...     "0.weight": np.ones([8, 4]),
        ...     "0.bias": np.zeros([8]),
        ...     "2.weight": np.ones([3, 8]),
        ...     "2.bias": np.zeros([3]),
        ... }
        >>> found = tl.interop.load_parameters(model, state_dict)
        >>> found["hidden_1/kernel"], model.get_layer("hidden_1").get_weights()[0].shape
        ('0.weight', (4, 8))

    Differences:
        PyTorch: its batch normalization keeps the unbiased variance of a batch, Keras's the biased
            one, so that further training differs a little; predictions do not.
    """
    where = "the arrays" if isinstance(source, Mapping) else shown(source)
    arrays = load_arrays(source)
    variables = _variables(model)
    if names is not None or is_torch_layout(arrays):
        is_ordered = isinstance(source, Mapping) or Path(source).suffix.lower() in TORCH
        found = torch_values(model, StateDict(arrays, is_ordered, where), names or {})
        paths = {id(variable): path for path, variable in variables.items()}
        values = {paths[id(v.variable)]: (v.name, v.array) for v in found}
        _set_epsilon(model, epsilon)
    else:
        _check(variables, arrays, where, model.name)
        values = {name: (name, arrays[name]) for name in variables}
    for path, (_, array) in values.items():
        variables[path].assign(array.astype(variables[path].dtype))
    return {path: name for path, (name, _) in values.items()}


def check_suffix(path: Path) -> None:
    """Raise `ValueError` unless parameters can be written to a file of this name."""
    if path.suffix not in FORMATS:
        raise ValueError(f"{shown(path)} does not end in {' or '.join(FORMATS)}")


def model_arrays(model: Any) -> dict[str, Array]:
    """Return what `save_parameters` writes: arrays by name."""
    return {name: np.asarray(variable) for name, variable in _variables(model).items()}


def load_arrays(source: str | os.PathLike[str] | Mapping[str, Any]) -> dict[str, Array]:
    """Return the arrays of a source of `load_parameters` by name."""
    return {str(name): to_array(x) for name, x in _read(source).items()}


def _variables(model: Any) -> dict[str, Any]:
    """Return the variables of a model by name, without those of random generators."""
    trained, kept = model_variables(model)
    return {n: v for n, v in {**trained, **kept}.items() if not n.startswith(SEED_STATE)}


def _set_epsilon(model: Any, epsilon: float) -> None:
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.epsilon = epsilon


def _read(source: str | os.PathLike[str] | Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arrays of a source by name.

    Raises:
        FileNotFoundError, ValueError, ImportError: as of `load_parameters`.
    """
    if isinstance(source, Mapping):
        return source
    file = expanded(source)
    readers: dict[str, Callable[[Path], Mapping[str, Any]]] = {
        NPZ: read_npz,
        SAFETENSORS: _read_safetensors,
        **dict.fromkeys(TORCH, _read_torch),
    }
    if file.suffix.lower() not in readers:
        raise ValueError(f"{shown(file)} does not end in {', '.join(readers)}")
    require_file(file)
    return readers[file.suffix.lower()](file)


def _safetensors() -> Any:
    try:
        import safetensors.numpy as package
    except ImportError:
        raise ImportError("files .safetensors need safetensors: pip install safetensors") from None
    return package


def _read_safetensors(file: Path) -> dict[str, Array]:
    load = _safetensors().load_file
    try:
        found: dict[str, Array] = load(file)
        return found
    except Exception as error:  # the package has an error of its own
        raise ValueError(f"{shown(file)} cannot be read as safetensors ({error})") from error


def _read_torch(file: Path) -> Mapping[str, Any]:
    try:
        import torch
    except ImportError:
        raise ImportError("files .pt and .pth need PyTorch: pip install torch") from None
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle has errors of several types
        raise ValueError(
            f"{shown(file)} holds no plain tensors; write it by torch.save(model.state_dict(), "
            f"{file.name!r})"
        ) from error
    for key in _INNER:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(torch.is_tensor(x) for x in found.values()):
        raise ValueError(f"{shown(file)} holds no state dict, a mapping of tensors by name")
    return found


def _check(
    variables: Mapping[str, Any], arrays: Mapping[str, Array], where: str, model: str
) -> None:
    """Raise `ValueError` unless arrays have the names and the shapes of a model's variables."""
    shapes = [
        f"{name} has shape {list(arrays[name].shape)}, the model's {list(variable.shape)}"
        for name, variable in variables.items()
        if name in arrays and arrays[name].shape != tuple(variable.shape)
    ]
    parts = {
        "it lacks ": [name for name in variables if name not in arrays],
        "the model has no ": [name for name in arrays if name not in variables],
        "": shapes,
    }
    wrong = [f"{text}{some(found)}" for text, found in parts.items() if found]
    if wrong:
        raise ValueError(f"{where} does not fit the model {model!r}: {'; '.join(wrong)}")


def some(names: list[str]) -> str:
    """Return the first of some names as text, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more

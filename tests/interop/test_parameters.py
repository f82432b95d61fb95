"""Parameters in files, by name; and state dicts of PyTorch as plain arrays, converted by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import trainlib as tl
from trainlib.interop import load_parameters, save_parameters

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def net():
    """A small net with batch normalization and a random generator, whose values all differ."""
    model = tl.models.mlp((4,), 3, hidden=(5,), batch_norm=True, dropout=0.5)
    for variable in model.weights:
        if variable.dtype == "float32":
            variable.assign(RANDOM.uniform(0.5, 1.5, variable.shape))
    return model


def fresh():
    return tl.models.mlp((4,), 3, hidden=(5,), batch_norm=True, dropout=0.5)


def state_dict(**changes):
    """The state dict of Linear(4, 5), ReLU, Linear(5, 3), with changes; None removes an entry."""
    arrays = {
        "0.weight": np.arange(20.0).reshape(5, 4),
        "0.bias": np.arange(5.0),
        "2.weight": -np.arange(15.0).reshape(3, 5),
        "2.bias": -np.arange(3.0),
    }
    arrays |= {name.replace("_", "."): x for name, x in changes.items()}
    return {name: x for name, x in arrays.items() if x is not None}


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_model_gets_the_parameters_of_a_file(suffix, net, tmp_path):
    if suffix == ".safetensors":
        pytest.importorskip("safetensors", reason="safetensors is not installed")
    path = tmp_path / f"net{suffix}"
    save_parameters(net, path)
    other = fresh()
    found = load_parameters(other, path)
    assert set(found) == {
        *("hidden_1/kernel", "outputs/kernel", "outputs/bias"),
        *(f"batch_norm_1/{x}" for x in ("gamma", "beta", "moving_mean", "moving_variance")),
    }
    assert all(path == name for path, name in found.items())
    x = RANDOM.normal(size=(6, 4)).astype(np.float32)
    np.testing.assert_array_equal(other(x, training=False), net(x, training=False))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_an_archive_is_one_of_numpy(net, tmp_path):
    save_parameters(net, tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz") as arrays:
        np.testing.assert_array_equal(arrays["outputs/kernel"], net.get_layer("outputs").kernel)


def test_bfloat16_is_written_as_float32(tmp_path):
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1, dtype="bfloat16")])
    save_parameters(model, tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz") as arrays:
        assert {x.dtype.name for x in arrays.values()} == {"float32"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outputs/bias": None}, "it lacks outputs/bias"),
        ({"head/bias": np.zeros(3)}, "the model has no head/bias"),
        (
            {"outputs/bias": np.zeros(4)},
            r"outputs/bias has shape \[4\], the model's \[3\]",
        ),
    ],
)
def test_a_difference_is_one_line_and_nothing_is_assigned(change, message, net, tmp_path):
    save_parameters(net, tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz") as arrays:
        changed = {n: x for n, x in ({**arrays, **change}).items() if x is not None}
    other = fresh()
    before = [w.numpy() for w in other.weights]
    with pytest.raises(ValueError, match=f"^the arrays does not fit.*{message}$"):
        load_parameters(other, changed)
    for x, w in zip(before, other.weights, strict=True):
        np.testing.assert_array_equal(x, w)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("net.h5", "does not end in .npz, .safetensors, .pt, .pth"),
        ("damaged.npz", "cannot be read as .npz"),
    ],
)
def test_another_file_is_refused(path, message, tmp_path):
    (tmp_path / path).write_bytes(b"x")
    with pytest.raises(ValueError, match=message):
        load_parameters(fresh(), tmp_path / path)
    with pytest.raises(FileNotFoundError):
        load_parameters(fresh(), tmp_path / "none.npz")
    with pytest.raises(ValueError, match="does not end in .npz or .safetensors"):
        save_parameters(fresh(), tmp_path / "net.h5")


def plain():
    return tl.models.mlp((4,), 3, hidden=(5,))


def test_kernels_of_pytorch_are_transposed():
    model = plain()
    found = load_parameters(model, state_dict())
    assert found["hidden_1/kernel"] == "0.weight"
    x = RANDOM.normal(size=(6, 4))
    arrays = state_dict()
    hidden = np.maximum(x @ arrays["0.weight"].T + arrays["0.bias"], 0)
    expected = hidden @ arrays["2.weight"].T + arrays["2.bias"]
    np.testing.assert_allclose(model(x.astype(np.float32)), expected, rtol=1e-5)


def test_the_first_dense_layer_after_flatten_takes_rows_channels_first():
    model = tl.models.mlp((2, 3, 4), 1, hidden=())
    image = RANDOM.normal(size=(2, 3, 4)).astype(np.float32)
    weight = RANDOM.normal(size=(1, 24))
    load_parameters(model, {"weight": weight, "bias": np.zeros(1)})
    expected = weight @ image.transpose(2, 0, 1).ravel()  # PyTorch's order: channels, rows, columns
    np.testing.assert_allclose(model(image[None])[0], expected, rtol=1e-5)


def test_equal_layers_are_matched_in_their_order():
    model = tl.models.mlp((4,), 4, hidden=(4, 4))
    arrays = {f"net.{k}.weight": np.full((4, 4), k) for k in (10, 2, 0)}
    arrays |= {f"net.{k}.bias": np.zeros(4) for k in (10, 2, 0)}
    found = load_parameters(model, arrays)
    names = ["hidden_1/kernel", "hidden_2/kernel", "outputs/kernel"]
    assert [found[name] for name in names] == [f"net.{k}.weight" for k in (10, 2, 0)]
    given = {"hidden_1": "net.2", "hidden_2": "0", "outputs": "10"}
    found = load_parameters(model, arrays, names=given)
    assert [found[name] for name in names] == [f"net.{k}.weight" for k in (2, 0, 10)]


def test_the_order_of_a_safetensors_file_is_that_of_numbers(tmp_path):
    package = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    model = tl.models.mlp((4,), 4, hidden=(4, 4))
    for names, works in (("2 10 9", True), ("first second last", False)):
        arrays = {f"{k}.weight": np.zeros((4, 4), np.float32) for k in names.split()}
        arrays |= {f"{k}.bias": np.zeros(4, np.float32) for k in names.split()}
        package.save_file(arrays, tmp_path / "net.safetensors")
        if works:
            found = load_parameters(model, tmp_path / "net.safetensors")
            assert found["hidden_2/kernel"] == "9.weight"
        else:
            with pytest.raises(ValueError, match="has 3 modules that may be hidden_1: .*names="):
                load_parameters(model, tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    ("model", "arrays", "message"),
    [
        (plain, state_dict(**{"0_bias": None}), "it lacks 0.bias, which is hidden_1/bias$"),
        (
            plain,
            state_dict(**{"0_bias": np.zeros(4)}),
            r"0.bias has shape \[4\]; hidden_1 needs \[5\]$",
        ),
        (
            plain,
            state_dict(**{"2_weight": np.zeros([3, 6])}),
            r"layers without a module: outputs \(Linear \[3, 5\]\); modules without a layer: 2 "
            r"\(Linear \[3, 6\]\)$",
        ),
        (
            plain,
            state_dict(**{"4_weight": np.zeros([7, 3])}),
            r"layers without a module: none; modules without a layer: 4 \(Linear \[7, 3\]\)$",
        ),
        (
            lambda: tl.models.mlp((4,), 3, hidden=(5,), activation="prelu"),
            state_dict(),
            "activation_1 is a PReLU$",
        ),
        (
            lambda: tl.models.mlp((4,), 4, hidden=(4, 4, 4), residual=2),
            {f"{k}.weight": np.zeros((4, 4)) for k in range(4)},
            "has 4 modules that may be hidden_1",
        ),
        (
            lambda: tl.models.resnet((8, 8), 2, depth=8, filters=2),
            None,
            "block_2_conv_1 pads an input of 8 by 0 pixels before and PyTorch by 1",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(model, arrays, message):
    model = model()
    if arrays is None:
        arrays = {}
        for layer in model.layers:
            if layer.weights:
                arrays |= torch_arrays(layer)
    with pytest.raises(ValueError, match=message):
        load_parameters(model, arrays)


def torch_arrays(layer):
    """Arrays as PyTorch names and shapes them, for a layer of the same name."""
    if isinstance(layer, keras.layers.BatchNormalization):
        names = ("weight", "bias", "running_mean", "running_var")
        return {f"{layer.name}.{name}": np.zeros(layer.gamma.shape) for name in names}
    axes = (1, 0) if layer.kernel.shape.rank == 2 else (3, 2, 0, 1)
    arrays = {f"{layer.name}.weight": np.zeros(np.transpose(layer.kernel, axes).shape)}
    return arrays | ({f"{layer.name}.bias": np.zeros(layer.bias.shape)} if layer.use_bias else {})


def test_layers_get_the_epsilon_of_pytorch():
    model = tl.models.mlp((4,), 3, hidden=(5,), batch_norm=True)
    arrays = {}
    for layer in model.layers:
        arrays |= torch_arrays(layer) if layer.weights else {}
    load_parameters(model, arrays)
    assert model.get_layer("batch_norm_1").epsilon == 1e-5
    load_parameters(model, arrays, epsilon=1e-3)
    assert model.get_layer("batch_norm_1").epsilon == 1e-3


def test_names_that_are_unknown_are_refused():
    for names, message in (({"hidden_9": "0"}, "no layer"), ({"hidden_1": "9"}, "no module")):
        with pytest.raises(ValueError, match=message):
            load_parameters(plain(), state_dict(), names=names)

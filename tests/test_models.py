"""Models by name, models of one's own, and models from a file."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import trainlib as tl
from trainlib.models import (
    MODELS,
    cnn,
    from_function,
    has_preprocessing,
    load_model,
    logits,
    mlp,
)


def kinds(model):
    return [type(layer).__name__ for layer in model.layers]


def names(model):
    return [layer.name for layer in model.layers]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "hidden_1 activation_1 hidden_2 activation_2 outputs"),
        ({"hidden": ()}, "outputs"),
        ({"hidden": (7,), "dropout": 0.5}, "hidden_1 activation_1 dropout_1 outputs"),
        ({"hidden": (7,), "batch_norm": True}, "hidden_1 batch_norm_1 activation_1 outputs"),
        (
            {"hidden": (7,), "batch_norm": True, "dropout": 0.5, "output_activation": "softmax"},
            "hidden_1 batch_norm_1 activation_1 dropout_1 outputs probabilities",
        ),
        (
            {"hidden": (7,), "preprocessing": [keras.layers.Rescaling(0.5, name="scale")]},
            "scale hidden_1 activation_1 outputs",
        ),
        ({"input_shape": (4, 3), "hidden": (7,)}, "flatten hidden_1 activation_1 outputs"),
    ],
)
def test_mlp_has_the_layers_that_are_asked_for(options, expected):
    model = mlp(**{"input_shape": (12,), "outputs": 5} | options)
    assert names(model) == expected.split()
    assert model.output_shape == (None, 5)
    assert model.name == "mlp"


def test_mlp_has_the_widths_and_options_that_are_asked_for():
    model = mlp((12,), 5, "sigmoid", hidden=(7, 6), activation="elu", dropout=0.25, batch_norm=True)
    assert [model.get_layer(f"hidden_{i}").units for i in (1, 2)] == [7, 6]
    assert not any(model.get_layer(f"hidden_{i}").use_bias for i in (1, 2))
    assert all(
        model.get_layer(f"activation_{i}").activation is keras.activations.elu for i in (1, 2)
    )
    assert [model.get_layer(f"dropout_{i}").rate for i in (1, 2)] == [0.25, 0.25]
    assert model.get_layer("probabilities").activation is keras.activations.sigmoid
    assert mlp((12,), 5).get_layer("hidden_1").use_bias
    assert [mlp((12,), 5).get_layer(f"hidden_{i}").units for i in (1, 2)] == [300, 100]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "conv_1 pool_1 flatten hidden_1 dropout_1 outputs"),
        ({"dropout": 0.0}, "conv_1 pool_1 flatten hidden_1 outputs"),
        ({"input_shape": (8, 6)}, "channels conv_1 pool_1 flatten hidden_1 dropout_1 outputs"),
        (
            {"output_activation": "softmax", "dropout": 0},
            "conv_1 pool_1 flatten hidden_1 outputs probabilities",
        ),
        (
            {"preprocessing": [keras.layers.Rescaling(0.5, name="scale")], "dropout": 0},
            "scale conv_1 pool_1 flatten hidden_1 outputs",
        ),
    ],
)
def test_cnn_has_the_layers_that_are_asked_for(options, expected):
    model = cnn(**{"input_shape": (8, 6, 2), "outputs": 5, "filters": 3, "units": 4} | options)
    assert names(model) == expected.split()
    assert model.get_layer("conv_1").output.shape == (None, 6, 4, 3)
    assert model.get_layer("pool_1").output.shape == (None, 3, 2, 3)
    assert model.get_layer("hidden_1").output.shape == (None, 4)
    assert model.output_shape == (None, 5)
    assert model.name == "cnn"


def test_cnn_has_the_options_that_are_asked_for():
    model = cnn((8, 6, 1), 5, activation="tanh", dropout=0.125)
    for name in ("conv_1", "hidden_1"):
        assert model.get_layer(name).activation is keras.activations.tanh
    assert model.get_layer("dropout_1").rate == 0.125
    assert model.get_layer("outputs").activation is keras.activations.linear


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("initializer", ["zeros", "orthogonal", "lecun_uniform"])
def test_hidden_kernels_start_from_the_initializer(model, initializer):
    made = model((8, 6), 5, initializer=initializer)
    hidden = [layer for layer in made.layers if layer.name.startswith(("hidden", "conv"))]
    expected = type(keras.initializers.get(initializer))
    assert len(hidden) == 2
    assert all(type(layer.kernel_initializer) is expected for layer in hidden)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_models_predict_what_the_output_activation_promises(model):
    images = np.random.default_rng(0).normal(size=(3, 8, 6)).astype("float32")
    probabilities = model((8, 6), 5, "softmax")(images).numpy()
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-6)
    assert np.any(model((8, 6), 5)(images).numpy() < 0)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1}, "dropout must be at least 0 and below 1, got 1"),
        ({"dropout": -0.5}, "dropout must be at least 0 and below 1, got -0.5"),
        ({"activation": "rellu"}, "unknown activation 'rellu': relu, leaky_relu"),
        ({"initializer": "he"}, "unknown initializer 'he': auto, he_normal"),
    ],
)
def test_wrong_options_are_refused(model, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        model((8, 6), 5, **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mlp((4,), 2, hidden=(3, 0)), "hidden must be at least 1, got 0"),
        (lambda: cnn((4, 4), 2, filters=0), "filters must be at least 1, got 0"),
        (lambda: cnn((4, 4), 2, units=-1), "units must be at least 1, got -1"),
        (lambda: cnn((4,), 2), r"model cnn needs images, of 2 or 3 axes; .* shape \(4,\)"),
        (
            lambda: cnn((2, 4, 4, 1), 2),
            r"model cnn needs images, of 2 or 3 axes; .* \(2, 4, 4, 1\)",
        ),
        (lambda: cnn((3, 9, 1), 2), r"model cnn needs images of at least 4x4; .* \(3, 9, 1\)"),
    ],
)
def test_wrong_sizes_are_refused(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


def test_the_smallest_images_fit():
    assert cnn((4, 4), 2).output_shape == (None, 2)


@pytest.mark.parametrize(
    "last",
    [
        lambda: keras.layers.Activation("softmax"),
        lambda: keras.layers.Activation("sigmoid"),
        lambda: keras.layers.Softmax(),
    ],
)
def test_logits_are_the_model_without_its_last_activation(last):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="z"), last()])
    bare = logits(model)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    np.testing.assert_allclose(bare(x), model.get_layer("z")(x), rtol=1e-6)
    np.testing.assert_allclose(model.layers[-1](bare(x)), model(x), rtol=1e-6)
    assert bare.name == model.name


def test_logits_take_the_structure_of_the_models_inputs():
    inputs = {name: keras.Input((2,), name=name) for name in ("a", "b")}
    joined = keras.layers.Concatenate()([inputs["a"], inputs["b"]])
    model = keras.Model(inputs, keras.layers.Softmax()(joined))
    x = {"a": np.ones((1, 2), "float32"), "b": np.zeros((1, 2), "float32")}
    np.testing.assert_array_equal(logits(model)(x), [[1, 1, 0, 0]])


def test_logits_share_their_variables_with_the_model():
    model = mlp((3,), 4, "softmax", hidden=(5,), batch_norm=True, dropout=0.5)
    bare = logits(model)
    assert [id(v) for v in bare.variables] == [id(v) for v in model.variables]
    tl.Trainer(bare, "mean_squared_error", tl.sgd(), execution="graph").fit(
        (np.ones((2, 3), "float32"), np.ones((2, 4), "float32"))
    )
    x = np.ones((1, 3), "float32")
    np.testing.assert_allclose(keras.ops.softmax(bare(x)), model(x), rtol=1e-6)


@pytest.mark.parametrize(
    "last",
    [
        lambda: keras.layers.Dense(4),
        lambda: keras.layers.Dense(4, activation="softmax"),
        lambda: keras.layers.Activation("tanh"),
        lambda: keras.layers.Dropout(0.5),
    ],
)
def test_other_models_have_no_logits_of_their_own(last):
    assert logits(keras.Sequential([keras.Input((3,)), last()])) is None


class Own(keras.Model):
    """A model whose layers Keras cannot put in order."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = parts

    def call(self, x):
        return x


@pytest.mark.parametrize("parts", [(), ("softmax",)])
def test_models_with_a_call_of_their_own_have_no_logits(parts):
    assert logits(Own(*map(keras.layers.Activation, parts))) is None


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (lambda: keras.layers.Rescaling(0.5), True),
        (lambda: keras.layers.Normalization(mean=0, variance=1), True),
        (lambda: keras.layers.BatchNormalization(), False),
        (lambda: keras.layers.Dense(3), False),
    ],
)
def test_preprocessing_is_a_first_layer_that_scales(first, expected):
    later = keras.layers.Rescaling(2.0)
    assert has_preprocessing(keras.Sequential([keras.Input((3,)), first(), later])) is expected
    inputs = keras.Input((3,))
    assert has_preprocessing(keras.Model(inputs, later(first()(inputs)))) is expected


def test_a_saved_model_is_loaded_with_its_values(tmp_path):
    model = cnn((8, 6), 5, "softmax", filters=2, units=3)
    path = str(tmp_path / "model.keras")
    model.save(path)
    loaded = load_model(path)
    assert kinds(loaded) == kinds(model)
    for old, new in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("name", ["none.keras", "", "none/none.keras"])
def test_a_missing_file_is_named(tmp_path, name):
    path = str(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="^model .*: there is no such file$") as error:
        load_model(path)
    assert path in str(error.value)


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x05\x06" + bytes(18)])
def test_a_file_that_holds_no_model_is_refused(tmp_path, content):
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a Keras model that can be loaded: ") as error:
        load_model(str(path))
    assert str(error.value).startswith(f"model {path}: ")
    assert "\n" not in str(error.value)


def test_code_in_a_file_is_not_run(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: 2 * x)])
    path = str(tmp_path / "model.keras")
    model.save(path)
    with pytest.raises(ValueError, match="model that can be loaded: .*`Lambda` layer") as error:
        load_model(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < len(path) + 300


def test_code_in_a_file_is_run_where_it_is_trusted(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: 2 * x)])
    path = str(tmp_path / "model.keras")
    model.save(path)
    assert load_model(path, safe_mode=False)(np.ones((1, 3))).numpy().tolist() == [[2, 2, 2]]


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module into the working directory; its name, which is that of no other test."""
    monkeypatch.chdir(tmp_path)

    def write(text):
        name = f"own_{tmp_path.name}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        return name

    return write


def test_a_function_of_ones_own_makes_the_model(module):
    name = module(
        "import keras\n"
        "def net(input_shape, outputs):\n"
        "    layers = [keras.Input(input_shape), keras.layers.Dense(outputs)]\n"
        "    return keras.Sequential(layers)\n"
    )
    model = from_function(f"{name}:net", (3,), 2)
    assert (model.input_shape, model.output_shape) == ((None, 3), (None, 2))


def test_looking_for_a_function_leaves_the_path_alone(module, monkeypatch):
    paths = ["somewhere"]
    monkeypatch.setattr("sys.path", paths)
    with pytest.raises(ValueError):
        from_function(f"{module('')}:net", (3,), 2)
    assert paths == ["somewhere"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "model '': must be written module:function"),
        ("own", "model 'own': must be written module:function"),
        (":net", "model ':net': must be written module:function"),
        ("own:", "model 'own:': must be written module:function"),
        ("no_such_module:net", "model no_such_module:net: No module named 'no_such_module'"),
        ("{own}:net", "model {own}:net: module '{own}' has no attribute 'net'"),
        ("{own}:number", "model {own}:number: must be a function, got float"),
        ("{own}:wrong", "model {own}:wrong: must return a keras.Model, got tuple"),
    ],
)
def test_a_function_that_makes_no_model_is_refused(module, spec, message):
    own = module("number = 1.5\ndef wrong(input_shape, outputs):\n    return (1, 2)\n")
    with pytest.raises(ValueError) as error:
        from_function(spec.format(own=own), (3,), 2)
    assert str(error.value) == message.format(own=own)


def test_auto_is_the_initializer_that_it_stands_for():
    kernels = []
    for name in ("auto", "he_normal"):
        keras.utils.set_random_seed(0)
        kernels.append(tl.models.mlp((4,), 2, hidden=(3,), initializer=name).get_weights()[0])
    np.testing.assert_array_equal(*kernels)

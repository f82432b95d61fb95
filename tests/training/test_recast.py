"""Keras models in a precision: dtypes, values, training; the user's model is unchanged."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import soak_except

import trainlib as tl
from trainlib.training.functional_model import (
    as_functional_model,
    functional_from_keras,
)
from trainlib.training.model_variables import write_back
from trainlib.training.recast import recast

layers = keras.layers
FACTOR = 1.5
"""Read by a lambda; a layer rebuilt from its configuration would not find it."""
TOLERANCE = {"float32": 1e-6, "float64": 1e-6, "mixed_bfloat16": 0.03, "mixed_float16": 0.004}
X = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")


def sequential():
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, "tanh", kernel_regularizer="l2", name="first"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.5, name="drop"),
            layers.Dense(2, name="last"),
        ]
    )


def functional():
    """Shared, wrapped, nested and adapted layers, a lambda layer, and two outputs."""
    a, b = keras.Input((6,), name="a"), keras.Input((5,), dtype="int32", name="b")
    scaled = layers.Normalization(name="scaled")
    scaled.adapt(1000 + 3 * X)
    e = layers.Embedding(10, 4, name="embedding")(b)
    e = layers.MultiHeadAttention(2, 4, name="attention")(e, e)
    inner = keras.Sequential(
        [
            keras.Input((5, 4)),
            layers.Bidirectional(layers.LSTM(3, name="lstm"), name="both"),
            layers.Dropout(0.5),
        ],
        name="inner",
    )
    h = layers.Concatenate()([scaled(a), inner(e)])
    penalties = {"kernel_regularizer": "l2", "activity_regularizer": "l2"}
    shared = layers.Dense(12, "relu", name="shared", **penalties)
    h = layers.BatchNormalization(name="norm")(shared(shared(h)))
    h = layers.Lambda(lambda t: tf.nn.relu(t) * FACTOR, name="own")(h) * 2
    p = layers.Dense(3, "softmax", name="classes")(h)
    model = keras.Model({"a": a, "b": b}, [p, layers.Dense(1, name="value")(h)], name="net")
    model.compile("adam", ["mse", lambda y_true, y_pred: y_pred])
    return model


class Own(keras.Model):
    """A model with a custom call."""

    def __init__(self, units=8, **options):
        super().__init__(**options)
        self.units = units
        self.first = layers.Dense(units, "relu", name="first")
        self.norm = layers.BatchNormalization(name="norm")
        self.last = layers.Dense(2, name="last")

    def call(self, x, training=False):
        return self.last(self.norm(self.first(x), training=training))


def own():
    model = Own()
    model(X)
    return model


class Wide(Own):
    """A model whose call joins its input and the output of a layer by TensorFlow."""

    def build(self, input_shape):
        self.first.build(input_shape)
        self.norm.build((None, self.units))
        self.last.build((None, self.units + input_shape[-1]))

    def call(self, x, training=False):
        h = self.norm(self.first(x), training=training)
        return self.last(tf.concat([x, h], axis=1))


class Secretive(keras.Model):
    """A model that cannot be rebuilt from its configuration, which lacks its arguments."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def get_config(self):
        raise NotImplementedError("it has no configuration")

    def call(self, x):
        return self.layer(x)


MODELS = {"sequential": sequential, "functional": functional, "own": own}
# The functional model takes long to trace; its policies differ from float32's in one way.
MADE = [
    pytest.param(name, precision, marks=pytest.mark.soak)
    if name == "functional" and precision != "mixed_float16"
    else (name, precision)
    for name in MODELS
    for precision in tl.PRECISIONS
]


def make(name):
    keras.utils.set_random_seed(0)
    return MODELS[name]()


def inputs_of(name):
    if name != "functional":
        return tf.constant(X)
    ids = np.random.default_rng(1).integers(0, 10, size=(64, 5))
    return {"a": tf.constant(1000 + 3 * X), "b": tf.constant(ids)}


def floats(tree):
    return [x for x in tf.nest.flatten(tree) if hasattr(x, "dtype") and x.dtype.is_floating]


def dtypes_of(model):
    return {layer.name: layer.compute_dtype for layer in model._flatten_layers(include_self=False)}


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(lambda f: f, marks=pytest.mark.soak, id="eager"),
        pytest.param(tf.function, id="graph"),
    ],
)
@pytest.mark.parametrize(("name", "precision"), MADE)
def test_everything_except_arithmetic_is_in_the_parameters_dtype(name, precision, run):
    model, x = make(name), inputs_of(name)
    keep = tl.PRECISIONS[precision].param_dtype
    apply_fn, params, model_state = functional_from_keras(model, precision=precision)

    def slopes(params, model_state, x):
        with tf.GradientTape() as tape:
            tape.watch(params)
            forward = apply_fn(params, model_state, x, training=True)
            loss = tf.add_n([tf.reduce_sum(y**2) for y in tf.nest.flatten(forward.y_pred)])
            loss += tf.cast(forward.penalty, loss.dtype)
        return forward, tape.gradient(loss, params)

    forward, grads = run(slopes)(params, model_state, x)
    assert all(t.dtype == keep for t in floats([params, model_state, forward[:2], grads]))
    assert name == "own" or forward.penalty.dtype == keep
    assert len(floats(grads)) == len(params) == len(model.trainable_variables)
    assert list(forward.model_state) == list(model_state)
    moved = [k for k in model_state if np.any(forward.model_state[k] != model_state[k])]
    assert {k.rsplit("/")[-1] for k in moved if "seed" not in k} == {
        "moving_mean",
        "moving_variance",
    }


@pytest.mark.parametrize(("name", "precision"), MADE)
def test_predictions_are_close_to_the_models_and_rounded_to_the_dtype(name, precision):
    model, x = make(name), inputs_of(name)
    expected = tf.nest.flatten(model(x, training=False))
    apply_fn, params, model_state = functional_from_keras(model, precision=precision)
    found = tf.nest.flatten(apply_fn(params, model_state, x, training=False).y_pred)
    found = [tf.cast(y, tf.float32) for y in found]
    error = max(np.max(np.abs(a - b)) for a, b in zip(found, expected, strict=True))
    size = max(np.max(np.abs(b)) for b in expected)
    assert error <= TOLERANCE[precision] * size
    if precision.startswith("mixed"):
        assert error > TOLERANCE[precision] * size / 300


@pytest.mark.parametrize("name", MODELS)
def test_the_users_model_and_the_global_policy_are_unchanged(name):
    model, x = make(name), inputs_of(name)
    values, dtypes, y = model.get_weights(), dtypes_of(model), model(x, training=False)
    ids = [id(layer) for layer in model._flatten_layers()]
    for precision in tl.PRECISIONS:
        apply_fn, params, model_state = functional_from_keras(model, precision=precision)
        apply_fn(params, model_state, x, training=True)
    assert dtypes_of(model) == dtypes
    assert [id(layer) for layer in model._flatten_layers()] == ids
    for old, new in zip(values, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    tf.nest.map_structure(np.testing.assert_array_equal, model(x, training=False), y)
    assert keras.config.dtype_policy().name == "float32"


def test_only_wide_layers_compute_in_float32():
    cast = recast(make("functional"), tl.PRECISIONS["mixed_bfloat16"])
    wired = (layers.InputLayer, keras.Model)
    parts = [layer for layer in cast._flatten_layers() if not isinstance(layer, wired)]
    wide = {layer.name for layer in parts if layer.compute_dtype == "float32"}
    softmax = {layer.name for layer in parts if isinstance(layer, layers.Softmax)}
    assert wide == {"scaled", "classes", "value"} | softmax
    assert len(softmax) == 1
    assert {layer.compute_dtype for layer in parts if layer.name not in wide} == {"bfloat16"}


@pytest.mark.parametrize("adapted", [False, True])
def test_inputs_far_from_0_are_scaled_in_float32(adapted):
    years = tf.constant(2000 + 10 * X)
    given = {} if adapted else {"mean": [2001.0] * 6, "variance": [100.0] * 6}
    scaled = layers.Normalization(name="scaled", **given)
    if adapted:
        scaled.adapt(years)
    model = keras.Sequential([keras.Input((6,)), scaled, layers.Dense(4), layers.Dense(2)])
    cast = recast(model, tl.PRECISIONS["mixed_bfloat16"])
    assert cast.get_layer("scaled") is not scaled
    np.testing.assert_array_equal(cast.get_layer("scaled")(years), scaled(years))


def test_a_layer_shared_by_nested_models_stays_shared():
    shared = layers.Dense(6, "relu", name="shared")
    inner = keras.Sequential([keras.Input((6,)), shared, layers.Dense(6)], name="inner")
    model = keras.Sequential([keras.Input((6,)), shared, inner, layers.Dense(2)])
    apply_fn, params, _ = functional_from_keras(model, precision="float64")
    assert len(params) == len(model.trainable_variables) == 6
    y_pred = apply_fn(params, functional_from_keras(model).model_state, X, training=False).y_pred
    np.testing.assert_allclose(y_pred, model(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["Softmax", "Activation"])
def test_an_inner_softmax_is_computed_in_float32(kind):
    softmax = layers.Softmax() if kind == "Softmax" else layers.Activation("softmax")
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4), softmax, layers.Dense(2)])
    cast = recast(model, tl.PRECISIONS["mixed_float16"])
    assert [layer.compute_dtype for layer in cast.layers[-3:]] == ["float16", "float32", "float32"]


def test_the_last_layers_of_nested_models_are_output_layers():
    end = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(2)], name="end")
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4), end])
    cast = recast(model, tl.PRECISIONS["mixed_bfloat16"])
    assert [layer.compute_dtype for layer in cast.layers[-1].layers[1:]] == ["bfloat16", "float32"]


def ending(*names):
    """A model that ends in an inner one, and in layers by name after it."""
    x = keras.Input((6,))
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(4), layers.Dense(3, name="last")])
    made = {
        "softmax": lambda y: layers.Activation("softmax")(y),
        "sigmoid": lambda y: layers.Activation("sigmoid")(y),
        "scale": lambda y: layers.Rescaling(0.5)(y),
        "shape": lambda y: layers.Reshape((3, 1))(y),
        "relu": lambda y: layers.ReLU()(y),
        "leaky": lambda y: layers.LeakyReLU()(y),
        "elu": lambda y: layers.ELU()(y),
        "average": lambda y: layers.Average()([y, layers.Dense(3, name="other")(x)]),
        "weighted": lambda y: layers.Add()([layers.Rescaling(0.5)(z) for z in (y, y)]),
        "log": lambda y: keras.ops.log(keras.ops.maximum(y, 1e-30)),
    }
    y = inner(layers.Dense(6, name="first")(x))
    for name in names:
        y = made[name](y)
    return keras.Model(x, y)


@pytest.mark.parametrize(
    "names",
    [
        ("softmax",),
        ("scale", "sigmoid"),
        ("shape", "sigmoid"),
        ("relu",),
        ("leaky", "elu"),
        ("softmax", "weighted", "log"),
        ("sigmoid", "average", "log", "softmax"),
    ],
)
def test_layers_before_the_activations_at_the_end_are_output_layers(names):
    cast = recast(ending(*names), tl.PRECISIONS["mixed_float16"])
    dtypes = dtypes_of(cast)
    assert dtypes["first"] == "float16"
    last = [name for name in ("last", "other") if name in dtypes]
    assert len(last) == 1 + ("average" in names)
    assert {dtypes[name] for name in last} == {"float32"} == {cast.layers[-1].compute_dtype}


def test_layers_before_other_layers_at_the_end_are_not_output_layers():
    end = [layers.Conv1D(4, 2, name="last"), layers.GlobalMaxPooling1D(), layers.Softmax()]
    cast = recast(keras.Sequential([keras.Input((6, 2)), *end]), tl.PRECISIONS["mixed_float16"])
    assert [x.compute_dtype for x in cast.layers[1:]] == ["float16", "float32", "float32"]


@pytest.mark.parametrize("add", [layers.Add(name="sum"), lambda both: both[0] + both[1]])
def test_the_blocks_of_a_residual_network_are_not_output_layers(add):
    x = keras.Input((6,))
    h = layers.Dense(6, name="first")(x)
    h = layers.Activation("relu")(add([h, layers.Dense(6, name="second")(h)]))
    cast = recast(keras.Model(x, h), tl.PRECISIONS["mixed_float16"])
    dtypes = dtypes_of(cast)
    assert (dtypes["first"], dtypes["second"]) == ("float16", "float16")
    assert cast.layers[-1].compute_dtype == "float32"


class WithoutItsArgument(layers.Layer):
    """A layer that cannot be made from its configuration."""

    def __init__(self, factor, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, x):
        return x * self.factor


def test_a_model_of_which_only_the_last_layer_is_wide_is_used_as_it_is():
    def net(softmax):
        half = {"dtype": "mixed_bfloat16"}
        own, last = WithoutItsArgument(2.0, **half), layers.Dense(3, **half)
        return keras.Sequential([keras.Input((6,)), own, last, softmax])

    model = net(layers.Activation("softmax", dtype="float32"))
    assert recast(model, tl.PRECISIONS["mixed_bfloat16"]) is model
    with pytest.raises(ValueError, match="^precision mixed_bfloat16: the model .* cannot be made"):
        recast(
            net(layers.Activation("relu", dtype="mixed_bfloat16")), tl.PRECISIONS["mixed_bfloat16"]
        )


@pytest.mark.parametrize("built_in", tl.PRECISIONS)
@pytest.mark.parametrize("precision", tl.PRECISIONS)
def test_the_policy_that_a_model_was_built_in_does_not_matter(built_in, precision):
    def net(dtype):
        return keras.Sequential(
            [keras.Input((6,)), layers.Dense(8, "tanh", dtype=dtype), layers.Dense(2, dtype=dtype)]
        )

    model, plain = net(built_in), net("float32")
    plain.set_weights([w.astype("float32") for w in model.get_weights()])
    found, expected = (
        s.apply_fn(s.params, s.model_state, tf.constant(X), training=True).y_pred
        for s in (functional_from_keras(m, precision=precision) for m in (model, plain))
    )
    assert found.dtype == expected.dtype == tl.PRECISIONS[precision].param_dtype
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_model_in_the_precision_is_used_as_it_is():
    model, stubborn = make("sequential"), Secretive(layers.Dense(2))
    stubborn(X)
    for each in (model, stubborn):
        assert recast(each, tl.PRECISIONS["float32"]) is each
    half = recast(model, tl.PRECISIONS["mixed_float16"])
    assert half is not model
    assert recast(half, tl.PRECISIONS["mixed_float16"]) is half


def test_a_model_that_cannot_be_rebuilt_is_refused_in_one_line():
    model = Secretive(layers.Dense(2))
    model(X)
    message = (
        r"^precision mixed_bfloat16: the model 'secretive\w*' cannot be made in it "
        r"\(it has no configuration\); build it with keras.config.set_dtype_policy"
    )
    with pytest.raises(ValueError, match=message):
        functional_from_keras(model, precision="mixed_bfloat16")


def test_a_custom_call_receives_inputs_in_the_parameters_dtype():
    model = Wide()
    model(X)
    apply_fn, params, model_state = functional_from_keras(model, precision="float64")
    y_pred = apply_fn(params, model_state, tf.constant(X), training=False).y_pred
    np.testing.assert_allclose(y_pred, model(X), rtol=1e-4, atol=1e-5)


IDS = np.array([[2049], [2050], [4000], [2051]])
"""Integers that float16 and bfloat16 round."""


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize(
    ("make_layer", "classes"),
    [
        (lambda: layers.CategoryEncoding(4001, output_mode="one_hot"), IDS[:, 0].tolist()),
        (lambda: layers.Discretization([2048.5, 2050.5], output_mode="one_hot"), [1, 1, 2, 2]),
    ],
    ids=["classes", "bins"],
)
def test_layers_that_encode_inputs_do_not_round_them(make_layer, classes, precision):
    inputs, x = keras.Input((1,)), IDS.astype("float32")
    model = keras.Model(inputs, layers.Dense(4)(make_layer()(inputs)))
    clone = recast(model, tl.PRECISIONS[precision])
    parts = (keras.Model(m.input, m.layers[1].output) for m in (model, clone))
    found = [tf.function(part, autograph=False)(tf.constant(x)) for part in parts]
    np.testing.assert_array_equal(*found)
    assert np.argmax(found[0], -1).tolist() == classes


class Looking(keras.Model):
    """A model with a custom call, and an adapted layer."""

    def __init__(self, **options):
        super().__init__(**options)
        self.lookup = layers.IntegerLookup(output_mode="one_hot", max_tokens=5)
        self.last = layers.Dense(2)

    def build(self, input_shape):
        self.last.build((None, 5))
        self.built = True

    def call(self, x):
        return self.last(self.lookup(x))


@pytest.mark.parametrize("mode", ["int", "one_hot", "tf_idf", "custom call"])
def test_lookups_keep_the_vocabulary_that_they_found(mode):
    if mode == "custom call":
        model = Looking()
        model.lookup.adapt(IDS)
        model.build((None, 1))
    else:
        lookup = layers.IntegerLookup(output_mode=mode)
        lookup.adapt(np.concatenate([IDS, IDS[:2]]))
        inputs = keras.Input((1,), dtype="int64")
        h = lookup(inputs)
        h = layers.Flatten()(layers.Embedding(6, 3)(h)) if mode == "int" else h
        model = keras.Model(inputs, layers.Dense(2)(layers.Dense(8)(h)))
    x, y = np.array([*IDS, [3]]), model(np.array([*IDS, [3]]))
    assert len(np.unique(y, axis=0)) > 3
    apply_fn, *values = functional_from_keras(model, precision="mixed_bfloat16")
    found = apply_fn(*values, tf.constant(x), training=False).y_pred
    np.testing.assert_allclose(found, y, atol=TOLERANCE["mixed_bfloat16"])


def test_an_unknown_precision_is_refused():
    for model in (make("sequential"), tl.FunctionalModel(lambda *_: None, ())):
        with pytest.raises(ValueError, match="^unknown precision 'mixed_float15': did you mean"):
            as_functional_model(model, precision="mixed_float15")


def test_frozen_layers_are_frozen_in_each_precision():
    model = make("functional")
    model.get_layer("shared").trainable = False
    model.get_layer("inner").trainable = False
    for precision in tl.PRECISIONS:
        params = functional_from_keras(model, precision=precision).params
        assert not [name for name in params if name.startswith(("shared", "inner"))]
        assert len(params) == len(model.trainable_variables)


def test_values_in_float64_are_the_models_and_are_assigned_back():
    model = make("sequential")
    _, params, model_state = functional_from_keras(model, precision="float64")
    np.testing.assert_array_equal(params["first/kernel"], model.get_layer("first").kernel)
    write_back(model, {k: v + 1 for k, v in params.items()}, model_state)
    expected = params["first/kernel"].numpy().astype("float32") + 1
    np.testing.assert_allclose(model.get_layer("first").kernel, expected, rtol=1e-6)


@pytest.mark.parametrize("execution", [pytest.param("graph", marks=pytest.mark.soak), "xla"])
@pytest.mark.parametrize("precision", soak_except("mixed_float16", names=tl.PRECISIONS))
def test_training_converges(precision, execution):
    """To the loss of float32, from a scale at which float16's first steps overflow."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(32, "relu"),
            layers.BatchNormalization(),
            layers.Dense(2),
        ]
    )
    y = np.stack([X[:, 0] * X[:, 1], np.sin(X[:, 2])], axis=1)
    scaling = tl.dynamic_loss_scale(2.0**24, 50) if precision == "mixed_float16" else None
    optimizer, s = tl.adam(0.01), functional_from_keras(model, precision=precision)
    step = tf.function(
        tl.train_step(
            tl.StepConfig(s.apply_fn, tl.losses.mean_squared_error, optimizer, loss_scale=scaling)
        ),
        autograph=False,
        jit_compile=execution == "xla",
    )
    state = tl.init_state(s.params, s.model_state, optimizer, loss_scale=scaling)
    batch, losses = (tf.constant(X), tf.constant(y, tf.float32)), []
    for _ in range(200):
        state, states = step(state, batch)
        if states["loss"].count > 0:  # the step was not skipped
            losses.append(float(states["loss"].compute()))
    assert losses[0] > 0.5
    assert losses[-1] < 0.01
    assert all(w.dtype == tl.PRECISIONS[precision].param_dtype for w in floats(state.params))
    if scaling:
        assert 0 < int(state.finite_guard.skipped) == 200 - int(state.step) < 30
        assert 1 <= float(state.loss_scale.scale) < 2**24


def test_any_function_is_computed_in_a_precision():
    def apply_fn(params, model_state, x, training):
        return tl.ModelOutput(x @ params["kernel"], {"mean": tf.reduce_mean(x)})

    plain = tl.FunctionalModel(apply_fn, {"kernel": tf.ones([6, 1])}, {"mean": tf.zeros([])})
    assert as_functional_model(plain) is plain
    for precision, policy in tl.PRECISIONS.items():
        s = as_functional_model(plain, precision=precision)
        assert all(x.dtype == policy.param_dtype for x in floats([s.params, s.model_state]))
        forward = s.apply_fn(s.params, s.model_state, tf.constant(X), training=True)
        assert all(x.dtype == policy.param_dtype for x in floats(forward[:2]))
        np.testing.assert_allclose(forward.y_pred, X.sum(axis=1, keepdims=True), rtol=0.1, atol=0.1)
    with pytest.raises(
        TypeError, match="^model must be a Keras model or a FunctionalModel, got 'mlp'"
    ):
        as_functional_model("mlp")

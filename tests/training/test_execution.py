"""Which execution "auto" begins with, and what each execution computes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.training.execution import (
    STEPS_TO_COMPILE,
    default_execution,
    evaluates_in_graph,
    slow_precision_reason,
    steps_to_compile,
)

DENSE = ["Rescaling", "Flatten", "Dense"]
LAYERS = {
    "Rescaling": lambda: keras.layers.Rescaling(0.5),
    "Flatten": keras.layers.Flatten,
    "Dense": lambda: keras.layers.Dense(2),
    "BatchNormalization": keras.layers.BatchNormalization,
    "Activation": lambda: keras.layers.Activation("relu"),
    "Identity": keras.layers.Identity,
    "PReLU": keras.layers.PReLU,
    "ELU": keras.layers.ELU,
    "LeakyReLU": keras.layers.LeakyReLU,
    "GroupNormalization": lambda: keras.layers.GroupNormalization(groups=1),
    "RMSNormalization": keras.layers.RMSNormalization,
    "UnitNormalization": keras.layers.UnitNormalization,
    "Dropout": lambda: keras.layers.Dropout(0.5),
    "Conv2D": lambda: keras.layers.Conv2D(2, 3),
}


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (DENSE, "xla"),
        ([*DENSE, "BatchNormalization", "Activation"], "xla"),
        ([*DENSE, "Identity", "PReLU"], "xla"),
        ([*DENSE, "ELU", "LeakyReLU"], "xla"),
        ([*DENSE, "GroupNormalization", "RMSNormalization", "UnitNormalization"], "xla"),
        ([*DENSE, "Dropout"], "graph"),
        (["Conv2D", *DENSE], "graph"),
    ],
)
def test_auto_is_xla_for_dense_layers_only(layers, expected):
    model = keras.Sequential([keras.Input((4, 4, 1)), *(LAYERS[name]() for name in layers)])
    assert default_execution("auto", model) == expected


ON_CPU = not tf.config.list_physical_devices("GPU")


@pytest.mark.parametrize(
    ("layers", "kind"),
    [
        ([keras.layers.Embedding(50, 4), keras.layers.Flatten()], "dense"),
        ([keras.layers.Embedding(1_000_000, 1), keras.layers.Flatten()], "embedding"),
        ([keras.layers.Embedding(50, 4, mask_zero=True), keras.layers.GRU(3)], "recurrent"),
        ([keras.layers.Reshape((5, 1)), keras.layers.LSTM(3)], "recurrent"),
        ([keras.layers.Reshape((5, 1)), keras.layers.SimpleRNN(3)], "recurrent"),
        (
            [keras.layers.Reshape((5, 1)), keras.layers.Bidirectional(keras.layers.GRU(3))],
            "recurrent",
        ),
        ([keras.layers.Reshape((5, 1)), keras.layers.LSTM(3, dropout=0.5)], None),
        ([keras.layers.Reshape((5, 1)), keras.layers.GRU(3, unroll=True)], None),
    ],
)
def test_sequences_are_compiled_after_the_steps_of_their_kind(layers, kind):
    model = keras.Sequential([keras.Input((5,)), *layers, keras.layers.Dense(1)])
    compiled = kind is not None and (kind != "recurrent" or ON_CPU)
    assert default_execution("auto", model) == ("xla" if compiled else "graph")
    assert steps_to_compile(model) == (0 if kind is None else STEPS_TO_COMPILE[kind])


@pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")), reason="the default is that of a CPU"
)
def test_the_default_on_a_cpu_depends_on_half_precision():
    dense, conv = (
        keras.Sequential([keras.Input((4, 4, 1)), *(LAYERS[name]() for name in names)])
        for names in (DENSE, ["Conv2D", *DENSE])
    )
    assert default_execution("auto", dense, "mixed_bfloat16") == default_execution(
        "auto", conv, "mixed_bfloat16"
    )
    assert default_execution("auto", dense, "mixed_bfloat16") == "graph"
    assert (
        default_execution("auto", conv, "mixed_float16")
        == default_execution("xla", conv, "mixed_float16")
        == "xla"
    )
    assert default_execution("graph", dense, "mixed_float16") == "graph"
    for execution in ("graph", "xla_update"):
        with pytest.raises(
            ValueError, match="hundreds of times slower on a CPU: use execution 'xla'"
        ):
            default_execution(execution, conv, "mixed_float16")


def nested(layer):
    return keras.Sequential([keras.Input((4, 4, 1)), keras.Sequential([layer])])


@pytest.mark.skipif(not ON_CPU, reason="XLA is needed on a CPU")
@pytest.mark.parametrize(
    ("model", "needed"),
    [
        (nested(keras.layers.Conv2D(2, 3)), True),
        (nested(keras.layers.Conv2DTranspose(2, 3)), True),
        (nested(keras.layers.TimeDistributed(keras.layers.Conv1D(2, 3))), True),
        (nested(keras.layers.Dropout(0.5)), False),
        (tl.FunctionalModel(lambda *_: None, ()), False),
        (None, False),
    ],
    ids=["convolution", "transposed", "wrapped", "dropout", "function", "no model"],
)
def test_only_convolutions_of_keras_need_xla_in_float16(model, needed):
    assert default_execution("auto", model, "mixed_float16") == ("xla" if needed else "graph")
    assert default_execution("auto", model) == "graph"
    if not needed:
        assert default_execution("graph", model, "mixed_float16") == "graph"


only_on_a_cpu = pytest.mark.skipif(not ON_CPU, reason="XLA's code for a CPU is refused")


def images_net(layer):
    layers = [keras.Input((4, 4, 2)), layer, keras.layers.Flatten(), keras.layers.Dense(1)]
    return keras.Sequential(layers)


@only_on_a_cpu
@pytest.mark.parametrize(
    "layer",
    [
        lambda: keras.layers.SeparableConv2D(2, 3, name="parts"),
        lambda: keras.layers.DepthwiseConv2D(3, name="parts"),
        lambda: keras.layers.TimeDistributed(keras.layers.SeparableConv1D(2, 3, name="parts")),
        lambda: keras.Sequential([keras.layers.DepthwiseConv2D(3, name="parts")]),
    ],
)
def test_xla_is_refused_for_depthwise_convolutions_on_a_cpu(layer):
    model = images_net(layer())
    refused = pytest.raises(ValueError, match="convolution 'parts': use execution 'graph'")
    with refused:
        default_execution("xla", model)
    with refused:
        default_execution("auto", model, "mixed_float16")


@only_on_a_cpu
@pytest.mark.parametrize(
    ("execution", "expected"), [("auto", "graph"), ("graph", "graph"), ("xla_update", "xla_update")]
)
def test_depthwise_convolutions_are_trained_otherwise(execution, expected):
    model = images_net(keras.layers.DepthwiseConv2D(3))
    assert default_execution(execution, model) == expected
    assert tl.Trainer(model, "mse", tl.sgd(), execution=execution).execution == expected


@pytest.mark.parametrize(
    "layer", [lambda: keras.layers.Conv2D(2, 3), lambda: keras.layers.GroupNormalization(2)]
)
def test_xla_compiles_other_layers_and_a_function_on_demand(layer):
    assert default_execution("xla", images_net(layer())) == "xla"
    assert default_execution("xla", lambda params, x: x) == "xla"


class CompiledElsewhere(tl.Checkpoints):
    """Checkpoints of a run that another machine compiled."""

    def load(self, position):
        found = super().load(position)
        found.metadata["conditions"]["execution"] = "xla"
        return found


@only_on_a_cpu
def test_a_run_that_another_machine_compiled_is_not_resumed_with_unsafe_code(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 4, 4, 2), "float32"), rng.standard_normal((8, 1), "float32")

    def fit(epochs, checkpoints):
        trainer = tl.Trainer(images_net(keras.layers.DepthwiseConv2D(3)), "mse", tl.sgd())
        save = tl.callbacks.SaveEvery(epochs=1)
        trainer.fit((x, y), batch_size=4, epochs=epochs, checkpoints=checkpoints, callbacks=[save])

    fit(1, tl.Checkpoints(tmp_path))
    with pytest.raises(ValueError, match="can end the process on a CPU"):
        fit(2, CompiledElsewhere(tmp_path, resume=True))


@pytest.mark.parametrize("make", [lambda: None, keras.Sequential, keras.Model])
def test_auto_is_graph_for_unknown_models(make):
    assert default_execution("auto", make()) == "graph"


@pytest.mark.parametrize("execution", ["graph", "xla", "xla_update"])
def test_an_explicit_execution_is_kept(execution):
    assert default_execution(execution, None) == execution


def test_an_unknown_execution_is_refused():
    with pytest.raises(ValueError, match="unknown execution 'xl': did you mean 'xla'"):
        default_execution("xl", None)


def dense_net(*units):
    layers = [keras.layers.Dense(n, "tanh") for n in units]
    return keras.Sequential([keras.Input((64,)), *layers, keras.layers.Dense(1)])


@pytest.mark.parametrize(("units", "expected"), [((127, 64), False), ((128,), True), ((), False)])
def test_dense_layers_of_8192_weights_are_evaluated_in_a_graph(units, expected):
    assert evaluates_in_graph(dense_net(*units)) == expected


def test_other_layers_are_evaluated_as_they_are_trained():
    conv = keras.Sequential([keras.Input((9, 9, 9)), keras.layers.Conv2D(128, 3)])
    recurrent = keras.Sequential([keras.Input((5, 9)), keras.layers.GRU(128)])
    for model in (conv, recurrent, None, keras.Sequential()):
        assert not evaluates_in_graph(model)


def test_a_wide_net_under_xla_is_evaluated_to_the_bits_of_a_graph():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((77, 64), "float32"), rng.standard_normal((77, 1), "float32")
    model, found = dense_net(200, 200), []
    for execution in ("graph", "xla"):
        trainer = tl.Trainer(model, "mse", tl.sgd(0.1), execution=execution)
        found.append(
            [trainer.evaluate((x, y), batch_size=32)["loss"], *trainer.predict(x, batch_size=32)]
        )
    assert np.array_equal(found[0][1:], found[1][1:])
    assert found[0][0] == found[1][0]


def test_a_wide_net_under_xla_trains_its_smaller_batch_under_xla_too(monkeypatch):
    trainer = tl.Trainer(dense_net(200), "mse", tl.sgd(0.1), execution="xla")
    programs = trainer.context.programs
    used, train = [], programs.train

    def spy(execution, rows, specs):
        used.append((execution, rows))
        return train(execution, rows, specs)

    monkeypatch.setattr(programs, "train", spy)
    trainer.fit((np.ones((50, 64), "float32"), np.ones((50, 1), "float32")), batch_size=32)
    assert used == [("xla", 32), ("xla", 18)]


def trainer_of(execution):
    """A net with batch statistics, momentum and clipping."""
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Dense(5, use_bias=False, name="hidden"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.Dense(1, name="outputs"),
    ]
    model = keras.Sequential([keras.Input((3,)), *layers])
    optimizer = tl.chain(tl.clip_by_global_norm(0.5), tl.adamw(0.01))
    return tl.Trainer(model, "mean_squared_error", optimizer, execution=execution)


DATA = (np.random.default_rng(0).normal(size=(40, 3)), np.arange(40.0))


@pytest.mark.parametrize("execution", ["xla", pytest.param("xla_update", marks=pytest.mark.soak)])
def test_all_executions_agree_to_rounding(execution):
    trainers = [trainer_of("graph"), trainer_of(execution)]
    for trainer in trainers:
        trainer.fit(DATA, batch_size=16, epochs=5)
    graph, other = (trainer.state for trainer in trainers)
    for name, w in graph.params.items():
        np.testing.assert_allclose(other.params[name], w, rtol=1e-4, atol=1e-6)
    assert trainers[1].traces == 2  # of full batches, and of the last


def test_a_cpu_without_amx_is_not_faster_with_bfloat16(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : fpu avx512_bf16\n")
    reason = slow_precision_reason("mixed_bfloat16", cpuinfo)
    assert reason == "without AMX a CPU is no faster with bfloat16 than with float32"
    cpuinfo.write_text("flags : fpu amx_bf16 amx_tile\n")
    assert slow_precision_reason("mixed_bfloat16", cpuinfo) is None
    assert slow_precision_reason("mixed_bfloat16", tmp_path / "none") is None
    assert "is for GPUs" in slow_precision_reason("mixed_float16", cpuinfo)
    assert slow_precision_reason("float64", cpuinfo) is None
    assert slow_precision_reason(None, cpuinfo) is None

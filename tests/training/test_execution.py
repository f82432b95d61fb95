"""Which execution "auto" chooses."""

from __future__ import annotations

import json
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
import trainlib.training.execution as execution
from trainlib.training.execution import autotune, cache_file, default_execution
from trainlib.training.input_pipeline import as_feed

DENSE = ["Rescaling", "Flatten", "Dense"]
LAYERS = {
    "Rescaling": lambda: keras.layers.Rescaling(0.5),
    "Flatten": keras.layers.Flatten,
    "Dense": lambda: keras.layers.Dense(2),
    "BatchNormalization": keras.layers.BatchNormalization,
    "Activation": lambda: keras.layers.Activation("relu"),
    "Dropout": lambda: keras.layers.Dropout(0.5),
    "Conv2D": lambda: keras.layers.Conv2D(2, 3),
}


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (DENSE, "xla"),
        ([*DENSE, "BatchNormalization", "Activation"], "xla"),
        ([*DENSE, "Dropout"], "graph"),
        (["Conv2D", *DENSE], "graph"),
    ],
)
def test_auto_takes_xla_for_dense_layers_alone(layers, expected):
    model = keras.Sequential([keras.Input((4, 4, 1)), *(LAYERS[name]() for name in layers)])
    assert default_execution("auto", model) == expected


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="the rule is of a CPU")
def test_the_rule_on_a_cpu_knows_what_half_precision_costs():
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
    for way in ("graph", "xla_update"):
        with pytest.raises(ValueError, match="hundreds of times slower on a CPU: take 'xla'"):
            default_execution(way, conv, "mixed_float16")


@pytest.mark.parametrize("make", [lambda: None, keras.Sequential, keras.Model])
def test_auto_takes_graph_for_what_it_does_not_know(make):
    assert default_execution("auto", make()) == "graph"


@pytest.mark.parametrize("way", ["graph", "xla", "xla_update"])
def test_what_is_asked_for_is_taken(way):
    assert default_execution(way, None) == way


def test_an_unknown_execution_is_refused():
    with pytest.raises(ValueError, match="unknown execution 'xl': did you mean 'xla'"):
        default_execution("xl", None)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache; its content."""
    monkeypatch.setenv("TRAINLIB_CACHE", str(tmp_path / "cache"))
    return lambda: json.loads(cache_file().read_text())


def graph_of(function):
    return lambda: tf.function(function).get_concrete_function().graph


PLAIN = graph_of(lambda: tf.constant(1.0) + 1.0)
RANDOM = graph_of(lambda: tf.random.stateless_uniform([2], [1, 2]))


def runs(seconds, ran=None):
    """Steps that take so many seconds each, by way; one that is missing cannot be compiled."""

    def run(way, count):
        if ran is not None and way not in ran:
            ran.append(way)
        if way not in seconds:
            raise tf.errors.InvalidArgumentError(None, None, "not compilable")
        time.sleep(seconds[way] * count)

    return run


SLOW = {"graph": 0.03, "xla": 0.01, "xla_update": 0.02}


def test_the_fastest_way_is_taken_and_remembered(cache):
    chosen, speeds = autotune("graph", runs(SLOW), PLAIN, 10_000, 100, "shapes")
    assert chosen == "xla" and set(speeds) == set(SLOW)
    assert speeds["xla"] == pytest.approx(100, rel=0.2)
    assert list(cache().values()) == ["xla"]
    ran = []
    again = autotune("graph", runs(SLOW, ran), PLAIN, 10_000, 100, "shapes")
    assert (again, ran) == (("xla", {}), [])
    chosen, speeds = autotune("graph", runs(SLOW), PLAIN, 10_000, 100, "other shapes")
    assert speeds and len(cache()) == 2


def test_a_way_that_cannot_be_compiled_is_not_taken(cache):
    seconds = {"graph": 0.03, "xla_update": 0.02}
    chosen, speeds = autotune("graph", runs(seconds), PLAIN, 10_000, 100, "shapes")
    assert chosen == "xla_update" and set(speeds) == set(seconds)


def test_what_draws_random_numbers_is_not_compiled_whole(cache):
    chosen, speeds = autotune("graph", runs(SLOW), RANDOM, 10_000, 100, "shapes")
    assert chosen == "xla_update" and "xla" not in speeds


def test_the_rule_is_left_for_what_is_clearly_faster_alone(cache):
    seconds = {"graph": 0.01, "xla": 0.0098, "xla_update": 0.02}
    assert autotune("graph", runs(seconds), PLAIN, 10_000, 100, "shapes")[0] == "graph"


@pytest.mark.parametrize(("steps", "in_a_row"), [(999, 100), (10_000, 0)])
def test_short_runs_measure_nothing(steps, in_a_row, cache):
    ran = []
    assert autotune("graph", runs(SLOW, ran), PLAIN, steps, in_a_row, "s") == ("graph", {})
    assert ran == [] and not cache_file().exists()


def test_runs_that_are_soon_over_compile_no_other_way(cache):
    ran = []
    seconds = dict.fromkeys(SLOW, 1e-4)
    assert autotune("graph", runs(seconds, ran), PLAIN, 2000, 100, "s") == ("graph", {})
    assert ran == ["graph"]


@pytest.mark.parametrize("content", ["", "[1]", '{"a": "b"}'])
def test_a_damaged_cache_is_as_none(content, cache):
    cache_file().parent.mkdir()
    cache_file().write_text(content)
    assert autotune("graph", runs(SLOW), PLAIN, 10_000, 100, "shapes")[0] == "xla"
    assert "xla" in cache().values()


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRAINLIB_CACHE", str(tmp_path / "file"))
    assert autotune("graph", runs(SLOW), PLAIN, 10_000, 100, "shapes")[0] == "xla"


def trainer_of(way):
    """A net with batch statistics, momentum and clipping."""
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Dense(5, use_bias=False, name="hidden"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.Dense(1, name="outputs"),
    ]
    model = keras.Sequential([keras.Input((3,)), *layers])
    optimizer = tl.chain(tl.clip_by_global_norm(0.5), tl.adamw(0.01))
    return tl.Trainer(model, "mean_squared_error", optimizer, execution=way)


DATA = (np.random.default_rng(0).normal(size=(40, 3)), np.arange(40.0))


@pytest.mark.parametrize("way", ["xla", pytest.param("xla_update", marks=pytest.mark.soak)])
def test_every_way_comes_to_the_same_to_rounding(way):
    trainers = [trainer_of("graph"), trainer_of(way)]
    for trainer in trainers:
        trainer.fit(DATA, batch_size=16, epochs=5)
    graph, other = (trainer.state for trainer in trainers)
    for name, w in graph.params.items():
        np.testing.assert_allclose(other.params[name], w, rtol=1e-4, atol=1e-6)
    assert trainers[1].traces == 2  # of full batches, and of the last


def test_measuring_leaves_the_state_and_the_count_of_traces(cache, monkeypatch):
    monkeypatch.setattr(execution, "MEASURED_FROM", 1)
    monkeypatch.setattr(execution, "WORTH_SECONDS", 0.0)
    monkeypatch.setattr(execution, "TIMED_SECONDS", 0.001)
    trainer = trainer_of("auto")
    before = trainer.state
    speeds = trainer.settle_execution(as_feed("data", DATA, 16), epochs=3)
    assert set(speeds) == {"graph", "xla", "xla_update"} and trainer.traces == 0
    assert list(cache().values()) == [trainer.execution]
    tf.nest.map_structure(np.testing.assert_array_equal, before, trainer.state)
    assert trainer.settle_execution(as_feed("data", DATA, 16)) == speeds
    history = trainer.fit(DATA, batch_size=16, epochs=3)
    again = trainer_of(trainer.execution)
    assert [e["loss"] for e in again.fit(DATA, batch_size=16, epochs=3)] == [
        e["loss"] for e in history
    ]


def test_a_processor_without_amx_is_told_to_be_no_faster_with_bfloat16(tmp_path):
    processor = tmp_path / "cpuinfo"
    processor.write_text("flags : fpu avx512_bf16\n")
    said = execution.why_no_faster("mixed_bfloat16", processor)
    assert said == "without AMX a processor is no faster with bfloat16 than with float32"
    processor.write_text("flags : fpu amx_bf16 amx_tile\n")
    assert execution.why_no_faster("mixed_bfloat16", processor) is None
    assert execution.why_no_faster("mixed_bfloat16", tmp_path / "none") is None
    assert "is for GPUs" in execution.why_no_faster("mixed_float16", processor)
    assert execution.why_no_faster("float64", processor) is None
    assert execution.why_no_faster(None, processor) is None

"""The autotuner: what it measures, chooses and remembers; its clock is a fake one."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.training import autotune
from trainlib.training.autotune import Autotuner, Workload, choices_folder

SLOW = {"graph": 0.03, "xla": 0.01, "xla_update": 0.02}
"""Seconds per step."""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache; a function that reads it."""
    monkeypatch.setenv("TRAINLIB_CACHE", str(tmp_path / "cache"))
    return lambda: {file.name: file.read_text() for file in choices_folder().iterdir()}


def graph_of(function):
    return lambda: tf.function(function).get_concrete_function().graph


PLAIN = graph_of(lambda: tf.constant(1.0) + 1.0)
RANDOM = graph_of(lambda: tf.random.stateless_uniform([2], [1, 2]))


IMAGE, FILTERS = np.ones([1, 4, 4, 2], "float32"), np.ones([2, 2, 2, 1], "float32")
CONVOLUTIONS = {
    "conv": graph_of(lambda: tf.nn.conv2d(IMAGE, FILTERS, 1, "SAME")),
    "depthwise": graph_of(lambda: tf.nn.depthwise_conv2d(IMAGE, FILTERS, [1, 1, 1, 1], "SAME")),
}


class FakeSteps:
    """Steps that advance a fake clock; an execution without seconds cannot be compiled."""

    def __init__(self, seconds):
        self.seconds, self.now, self.ran = seconds, 0.0, []

    def clock(self):
        return self.now

    def run(self, execution, count):
        if execution not in self.ran:
            self.ran.append(execution)
        if execution not in self.seconds:
            raise tf.errors.InvalidArgumentError(None, None, "not compilable")
        self.now += self.seconds[execution] * count

    def choose(
        self, graph=PLAIN, steps=10_000, max_steps_per_call=100, shapes="shapes", default="graph"
    ):
        work = Workload(self.run, graph, steps, max_steps_per_call, shapes)
        return Autotuner(clock=self.clock).choose(default, work)


def test_the_fastest_execution_is_chosen_and_cached(cache):
    choice = FakeSteps(SLOW).choose()
    assert choice.execution == "xla"
    assert choice.speeds == pytest.approx({"graph": 1 / 0.03, "xla": 100.0, "xla_update": 50.0})
    assert list(cache().values()) == ["xla"]


def test_a_cached_choice_is_not_measured_again(cache):
    FakeSteps(SLOW).choose()
    again = FakeSteps(SLOW)
    assert again.choose() == ("xla", {}, "cache", True)
    assert again.ran == []


def test_other_shapes_are_measured_separately(cache):
    FakeSteps(SLOW).choose()
    assert FakeSteps(SLOW).choose(shapes="other shapes").speeds
    assert len(cache()) == 2


def test_what_cannot_be_compiled_is_not_chosen(cache):
    seconds = {"graph": 0.03, "xla_update": 0.02}
    execution, speeds, *_ = FakeSteps(seconds).choose()
    assert execution == "xla_update" and set(speeds) == set(seconds)


@pytest.mark.parametrize("steps", [100, 1000, 10_000])
def test_a_default_that_cannot_be_compiled_is_left_whatever_the_length_of_the_run(steps, cache):
    run = FakeSteps({"graph": 0.02})
    assert run.choose(steps=steps, default="xla").execution == "graph"


def test_an_error_of_the_steps_themselves_is_raised(cache):
    with pytest.raises(tf.errors.InvalidArgumentError):
        FakeSteps({}).choose(default="xla")


def test_a_step_that_draws_random_numbers_is_not_compiled_whole(cache):
    execution, speeds, *_ = FakeSteps(SLOW).choose(RANDOM)
    assert execution == "xla_update" and "xla" not in speeds


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions_are_not_compiled_whole_on_a_cpu(kind, cache, monkeypatch):
    monkeypatch.setattr(autotune, "visible_gpus", list)
    assert "xla" not in FakeSteps(SLOW).choose(CONVOLUTIONS[kind]).speeds
    monkeypatch.setattr(autotune, "visible_gpus", lambda: ["GPU:0"])
    assert FakeSteps(SLOW).choose(CONVOLUTIONS[kind], shapes="other").execution == "xla"


@pytest.mark.parametrize(("xla", "expected"), [(0.0098, "graph"), (0.0095, "xla")])
def test_the_default_is_left_only_for_a_speedup_above_5_percent(xla, expected, cache):
    seconds = {"graph": 0.01, "xla": xla, "xla_update": 0.02}
    assert FakeSteps(seconds).choose().execution == expected


def test_one_disturbed_measurement_does_not_change_the_default(cache):
    class Disturbed(FakeSteps):
        runs = 0

        def run(self, execution, count):
            super().run(execution, count)
            self.runs += 1
            self.now += self.runs <= 2  # the first run compiles, the second is timed

    steps = Disturbed({"graph": 1.0, "xla_update": 1.0})
    choice = steps.choose()
    assert choice.speeds == pytest.approx({"graph": 0.5, "xla_update": 1.0})
    assert choice.execution == "graph" and list(cache().values()) == ["graph"]


@pytest.mark.parametrize("short", [{"steps": 999}, {"max_steps_per_call": 0}])
def test_short_runs_measure_nothing(short, cache):
    steps = FakeSteps(SLOW)
    assert steps.choose(**short) == ("graph", {}, "default", True)
    assert steps.ran == [] and not choices_folder().exists()


def test_runs_that_end_soon_compile_no_other_execution(cache):
    steps = FakeSteps(dict.fromkeys(SLOW, 1e-4))
    assert steps.choose(steps=2000).execution == "graph"
    assert steps.ran == ["graph"]


def test_a_run_near_the_limit_keeps_the_choice_of_its_first_time(cache):
    """2000 steps of 4.9 ms end within 10 seconds, of 5.1 ms they do not."""
    first = FakeSteps({"graph": 0.0049, "xla": 0.001}).choose(steps=2000)
    later = FakeSteps({"graph": 0.0051, "xla": 0.001})
    assert first.execution == later.choose(steps=2000).execution == "graph"
    assert later.ran == []


def test_a_longer_run_in_between_does_not_change_the_choice_of_a_shorter_one(cache):
    short = {"steps": 2000}
    assert FakeSteps({"graph": 0.001, "xla": 0.0001}).choose(**short).execution == "graph"
    assert FakeSteps({"graph": 0.001, "xla": 0.0001}).choose(steps=90_000).execution == "xla"
    assert FakeSteps({"graph": 0.001, "xla": 0.0001}).choose(**short).execution == "graph"


def test_a_measurement_lasts_as_long_as_it_should(cache):
    counts = []
    steps = FakeSteps({"graph": 0.01})

    def run(execution, count):
        counts.append(count)
        steps.run(execution, count)

    work = Workload(run, PLAIN, 10_000, 100, "shapes")
    Autotuner(clock=steps.clock, timed_seconds=0.1).choose("graph", work)
    assert counts[:3] == [1, 1, 10]  # compiled; too short; 0.1 seconds


@pytest.mark.parametrize("content", [b"", b"auto", b"\xff"])
def test_a_damaged_choice_is_measured_again(content, cache):
    assert FakeSteps(SLOW).choose().execution == "xla"
    (file,) = choices_folder().iterdir()
    file.write_bytes(content)
    assert FakeSteps(SLOW).choose().source == "measured"
    assert list(cache().values()) == ["xla"]


def test_each_kind_of_run_has_a_choice_of_its_own(cache):
    """Several processes may keep theirs at once."""
    fast_graph = {"graph": 0.01, "xla": 0.03, "xla_update": 0.03}
    FakeSteps(SLOW).choose(shapes="one")
    FakeSteps(fast_graph).choose(shapes="another")
    assert sorted(cache().values()) == ["graph", "xla"]


def test_a_cache_that_cannot_be_written_is_ignored(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRAINLIB_CACHE", str(tmp_path / "file"))
    choice = FakeSteps(SLOW).choose()
    assert choice.execution == "xla" and not choice.is_kept


DATA = (np.random.default_rng(0).normal(size=(40, 3)), np.arange(40.0))
MEASURES_ALL = Autotuner(min_steps=1, min_seconds=0.0, timed_seconds=0.001)


def trainer_of(execution, autotuner=MEASURES_ALL):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.BatchNormalization(name="norm"), keras.layers.Dense(1, name="outputs")]
    model = keras.Sequential([keras.Input((3,)), *layers])
    optimizer = tl.adamw(0.01)
    return tl.Trainer(
        model, "mean_squared_error", optimizer, execution=execution, autotuner=autotuner
    )


class Printing(keras.Model):
    """A recurrent model with an operation that XLA does not have."""

    def __init__(self, **options):
        super().__init__(**options)
        self.recurrent, self.dense = keras.layers.SimpleRNN(2), keras.layers.Dense(1)

    def call(self, x):
        tf.print("called", output_stream="file:///dev/null")
        return self.dense(self.recurrent(x))


@pytest.mark.parametrize("precision", [None, "mixed_float16"])
def test_auto_trains_what_xla_cannot_compile_in_a_graph(precision, cache):
    model = Printing()
    model(np.ones([1, 3, 2], "float32"))  # builds it
    scale = {"loss_scale": tl.dynamic_loss_scale(1.0)} if precision else {}  # skips no step
    trainer = tl.Trainer(model, "mse", tl.sgd(0.01), precision=precision, **scale)
    assert trainer.execution == "xla"
    x, y = np.ones([200, 3, 2], "float32"), np.ones([200, 1], "float32")
    before = np.mean((model(x) - y) ** 2)
    if precision is None:  # whose evaluation is a graph before a run
        assert trainer.evaluate((x, y))["loss"] == pytest.approx(before, rel=1e-5)
    history = trainer.fit((x, y), batch_size=1)
    assert trainer.execution == "graph" and trainer.state.step == 200
    assert history[0]["loss"] < before
    assert trainer.predict(x).shape == (200, 1)


def test_measuring_changes_neither_the_state_nor_the_count_of_traces(cache):
    trainer = trainer_of("auto")
    before = trainer.state
    speeds = trainer.autotune(DATA, batch_size=16, epochs=3)
    assert set(speeds) == {"graph", "xla", "xla_update"} and trainer.traces == 0
    assert list(cache().values()) == [trainer.execution]
    tf.nest.map_structure(np.testing.assert_array_equal, before, trainer.state)
    assert trainer.autotune(DATA, batch_size=16) == speeds
    history = trainer.fit(DATA, batch_size=16, epochs=3)
    again = trainer_of(trainer.execution).fit(DATA, batch_size=16, epochs=3)
    assert [e["loss"] for e in again] == [e["loss"] for e in history]


def test_a_resumed_run_keeps_the_execution_of_its_checkpoint_unmeasured(cache, tmp_path):
    class NeverMeasures(Autotuner):
        def choose(self, default, work):
            raise AssertionError("measured")

    first = trainer_of("xla_update")
    saving = [tl.callbacks.SaveEvery(epochs=1)]
    first.fit(DATA, batch_size=16, callbacks=saving, checkpoints=tmp_path)
    resumed = trainer_of("auto", NeverMeasures())
    checkpoints = tl.Checkpoints(tmp_path, resume=True)
    resumed.fit(DATA, batch_size=16, epochs=2, callbacks=saving, checkpoints=checkpoints)
    assert resumed.execution == "xla_update"

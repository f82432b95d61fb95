"""Events as TensorBoard reads them: points, histograms, images, resumed runs."""

from __future__ import annotations

import importlib.util
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

import trainlib as tl
from trainlib.callbacks import Callback, SaveEvery, TensorBoard, TrainingStatus
from trainlib.callbacks.events import Events, require_tensorboard
from trainlib.callbacks.images import as_images, first_layer, grid
from trainlib.callbacks.projector import last_hidden, write_embeddings

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(40, 6, 5)).astype("float32")
Y = RNG.integers(0, 3, 40)
VALIDATION = RNG.uniform(size=(12, 6, 5)).astype("float32"), RNG.integers(0, 3, 12)
BATCHES = 5
"""Batches of 8 examples per epoch."""
HYPERPARAMETERS = {"batch_size": 8, "rate": 0.5, "flag": True, "name": "net", "widths": (3, 4)}


def net():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6, 5)),
            keras.layers.Reshape((6, 5, 1)),
            keras.layers.Conv2D(4, 3, activation="relu", name="conv"),
            keras.layers.Flatten(),
            keras.layers.Dense(7, activation="tanh", name="hidden"),
            keras.layers.Dropout(0.25),
            keras.layers.Dense(3, activation="softmax", name="outputs"),
        ]
    )


def trainer_of(model, **options):
    options = {"execution": "graph", "norms": True, "metrics": ["accuracy"]} | options
    loss = "sparse_categorical_crossentropy"
    return tl.Trainer(model, loss, tl.sgd(0.01, momentum=0.5), **options)


def small_net():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax", name="outputs")]
    return keras.Sequential([keras.Input((6, 5)), keras.layers.Dropout(0.25), *layers])


def fit(callbacks, epochs=3, seconds_per_call=0.25, **options):
    return trainer_of(small_net(), seconds_per_call=seconds_per_call).fit(
        (X, Y),
        batch_size=8,
        epochs=epochs,
        validation_data=VALIDATION,
        callbacks=callbacks,
        **options,
    )


def read(folder, purge=True):
    """The events of a folder, as TensorBoard keeps them."""
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}, purge_orphaned_data=purge)
    return events.Reload()


def points(folder, kind, purge=True):
    """The (step, value) of each point, by tag, of scalars that do not depend on the clock."""
    events = read(folder, purge)
    return {
        tag: [(e.step, tf.make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
        if tag.startswith(f"{kind}/") and tag != f"{kind}/steps_per_second"
    }


def assert_same_points(a, b):
    assert a.keys() == b.keys()
    for tag, found in a.items():
        assert [step for step, _ in found] == [step for step, _ in b[tag]], tag
        for (_, x), (_, y) in zip(found, b[tag], strict=True):
            assert x.tobytes() == y.tobytes(), tag


def images(folder, tag):
    """The pixels of the last image of that tag, and the step of each."""
    events = read(folder).Tensors(tag)
    width, height, *encoded = tf.make_ndarray(events[-1].tensor_proto)
    pixels = [tf.io.decode_png(png).numpy() for png in encoded]
    assert all(p.shape[:2] == (int(height), int(width)) for p in pixels)
    return pixels, [e.step for e in events]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder, the model and the history of a complete run."""
    folder = tmp_path_factory.mktemp("whole")
    model = net()
    callback = TensorBoard(
        folder, steps=2, hyperparameters=HYPERPARAMETERS, examples=VALIDATION, model=model
    )
    history = trainer_of(model).fit(
        (X, Y), batch_size=8, epochs=3, validation_data=VALIDATION, callbacks=[callback]
    )
    return folder, model, history


def test_the_points_of_epochs_are_the_history_to_the_bit(run):
    folder, _, history = run
    steps = [5, 10, 15]
    names = ("loss", "accuracy", "gradient_norm", "update_norm")
    expected = {
        "train": {f"epoch/{name}": name for name in names},
        "validation": {f"epoch/{name}": f"val_{name}" for name in ("loss", "accuracy")},
    }
    for part, tags in expected.items():
        found = points(folder / part, "epoch")
        assert found.keys() == tags.keys()
        for tag, name in tags.items():
            assert [step for step, _ in found[tag]] == steps
            values = [np.float32(results[name]) for results in history]
            assert [x.tobytes() for _, x in found[tag]] == [x.tobytes() for x in values]


def test_speeds_are_written_by_epoch_and_by_step(run):
    folder, _, history = run
    events = read(folder / "train")
    found = [tf.make_ndarray(e.tensor_proto) for e in events.Tensors("epoch/steps_per_second")]
    assert found == [np.float32(BATCHES / results["seconds"]) for results in history]
    assert len(events.Tensors("step/steps_per_second")) == 7


def test_points_within_epochs_come_every_few_batches(run):
    folder, _, history = run
    found = points(folder / "train", "step")
    assert found.keys() == {
        f"step/{name}" for name in ("loss", "accuracy", "gradient_norm", "update_norm")
    }
    for tag in found:
        assert [step for step, _ in found[tag]] == [2, 4, 6, 8, 10, 12, 14]
    # After the 10th batch the second epoch is over.
    assert dict(found["step/loss"])[10] == np.float32(history[1]["loss"])
    assert "step" not in {tag.split("/")[0] for tag in read(folder / "validation").Tags()}


def test_histograms_are_of_the_weights_and_of_the_gradients(run):
    folder, model, _ = run
    events = read(folder / "train")
    for kind in ("weights", "gradients"):
        for variable in model.trainable_variables:
            tag = f"{kind}/{variable.path.removeprefix(f'{model.name}/')}"
            assert [e.step for e in events.Tensors(tag)] == [5, 10, 15]
            buckets = tf.make_ndarray(events.Tensors(tag)[-1].tensor_proto)
            assert buckets[:, 2].sum() == np.size(variable)
            if kind == "weights":
                values = np.asarray(variable)
                assert buckets[0, 0] == values.min() and buckets[-1, 1] == values.max()


class Last(Callback):
    def on_epoch_end(self, status):
        self.gradients = status.gradients()


def test_histograms_of_gradients_are_those_of_the_status(tmp_path):
    last = Last()
    fit([TensorBoard(tmp_path, histogram_epochs=2), last], epochs=2)
    events = read(tmp_path / "train")
    for path, g in last.gradients.items():
        (event,) = events.Tensors(f"gradients/{path}")
        buckets = tf.make_ndarray(event.tensor_proto)
        # Dropout differs between the two calls; the gradients after it are equal.
        assert event.step == 10 and buckets[:, 2].sum() == np.size(g)
        if path == "outputs/bias":
            assert buckets[0, 0] <= buckets[-1, 1] != 0


def test_histograms_of_an_embedding_have_a_value_for_each_of_its_weights(tmp_path):
    keras.utils.set_random_seed(0)
    rows = keras.layers.Embedding(9, 4, name="words")
    layers = [rows, keras.layers.Flatten(), keras.layers.Dense(3, "softmax")]
    trainer = trainer_of(keras.Sequential([keras.Input((5,)), *layers]))
    trainer.fit((np.arange(40).reshape(8, 5) % 9, Y[:8]), callbacks=[TensorBoard(tmp_path)])
    (event,) = read(tmp_path / "train").Tensors("gradients/words/embeddings")
    assert tf.make_ndarray(event.tensor_proto)[:, 2].sum() == 36


def test_histograms_leave_out_values_that_are_not_finite(tmp_path):
    events = Events(tmp_path, 0)
    events.histograms({"some": np.array([1.0, np.nan, 3.0, np.inf]), "none": np.array([np.nan])}, 1)
    events.close()
    found = read(tmp_path)
    assert found.Tags()["tensors"] == ["some"]
    buckets = tf.make_ndarray(found.Tensors("some")[0].tensor_proto)
    assert (buckets[:, 2].sum(), buckets[0, 0], buckets[-1, 1]) == (2, 1, 3)


def test_without_histograms_there_are_only_points(tmp_path):
    fit([TensorBoard(tmp_path, histogram_epochs=0, graph=False)], epochs=1)
    tags = read(tmp_path / "train").Tags()
    assert {tag.split("/")[0] for tag in tags["tensors"]} == {"epoch"}
    assert not tags["graph"]


def test_inputs_are_a_grid_of_the_examples(run):
    folder, _, _ = run
    (pixels,), steps = images(folder / "train", "inputs")
    assert (pixels.shape, steps) == ((3 * 7 - 1, 4 * 6 - 1, 1), [0])
    scaled = np.rint(VALIDATION[0][5] / VALIDATION[0].max() * 255)
    assert np.max(np.abs(pixels[7:13, 6:11, 0] - scaled)) <= 1


def test_the_first_layer_is_a_grid_of_its_kernels(run):
    folder, model, _ = run
    (pixels,), steps = images(folder / "train", "first_layer/conv/kernel")
    assert (pixels.shape, steps) == ((7, 7, 1), [5, 10, 15])
    kernel = np.asarray(model.get_layer("conv").kernel)
    scaled = 0.5 + kernel[..., 0, 3] / np.max(np.abs(kernel)) / 2
    assert np.max(np.abs(pixels[4:, 4:, 0] - scaled * 255)) <= 1


@pytest.mark.parametrize(
    ("shape", "image", "size"),
    [
        ((30, 4), (6, 5), (13, 11, 1)),
        ((90, 2), (6, 5, 3), (6, 11, 3)),
        ((3, 3, 3, 5), (6, 5, 3), (7, 11, 3)),
        ((3, 3, 2, 5), None, (7, 11, 1)),
        ((30, 4), (6, 6), None),
        ((30, 4), None, None),
        ((3, 30, 4), (6, 5), None),
    ],
)
def test_some_kernels_have_an_image(shape, image, size):
    params = {
        "bias": np.zeros(4),
        "kernel": RNG.normal(size=shape),
        "later": np.zeros([3, 3, 1, 1]),
    }
    if len(shape) == 3:
        del params["later"]
    found = first_layer(params, image)
    assert {path: pixels.shape for path, pixels in found.items()} == (
        {} if size is None else {"kernel": size}
    )
    for pixels in found.values():
        assert pixels.min() >= 0 and pixels.max() <= 1
    assert first_layer(list(params.values()), image) == {}


def test_nested_parameters_are_read_in_their_own_order():
    params = {"b": {"part": {"bias": np.zeros(4), "kernel": np.zeros([3, 3, 1, 4])}}}
    params["a"] = np.zeros([3, 3, 1, 1])
    assert list(first_layer(params, None)) == ["b/part/kernel"]


def test_some_inputs_are_images():
    assert as_images(np.zeros([2, 6, 5])).shape == (2, 6, 5, 1)
    assert as_images(np.zeros([2, 6, 5, 3])).shape == (2, 6, 5, 3)
    for x in (np.zeros([2, 6]), np.zeros([2, 6, 5, 2]), {"a": np.zeros([2, 6, 5])}):
        assert as_images(x) is None
    scaled = as_images(np.array([[[0, 51], [102, 255]]], "uint8"))
    assert scaled.ravel().tolist() == [0, 0.2, 0.4, 1]
    assert grid(np.zeros([100, 2, 2, 1])).shape == (23, 23, 1)


def test_the_graph_is_that_of_a_training_step(run):
    folder, _, _ = run
    paths = [node.name.split("/") for node in read(folder / "train").Graph().node]
    assert {"read", "update", "write", "gradient_tape", "norms"} <= {path[0] for path in paths}
    assert any(name.startswith("conv") for path in paths for name in path)


def test_the_hyperparameters_and_the_final_results_are_written(run):
    folder, _, history = run
    events = read(folder)
    start, end = (
        events.SummaryMetadata(tag).plugin_data.content
        for tag in (hparams.SESSION_START_INFO_TAG, hparams.SESSION_END_INFO_TAG)
    )
    found = hparams.parse_session_start_info_plugin_data(start).hparams
    assert {name: getattr(v, v.WhichOneof("kind")) for name, v in found.items()} == {
        "batch_size": 8.0,
        "rate": 0.5,
        "flag": True,
        "name": "net",
        "widths": "(3, 4)",
    }
    assert hparams.parse_session_end_info_plugin_data(end).status == api_pb2.STATUS_SUCCESS
    final = points(folder, "final")
    assert final["final/val_loss"] == [(15, np.float32(history[-1]["val_loss"]))]
    assert len(final) == 6


def test_the_projector_has_the_last_hidden_layer_of_the_examples(run):
    folder, model, _ = run
    config = ProjectorConfig()
    text_format.Parse((folder / "train" / "projector_config.pbtxt").read_text(), config)
    (embedding,) = config.embeddings
    written = np.loadtxt(folder / "train" / embedding.tensor_path, delimiter="\t")
    hidden = keras.Model(model.inputs[0], model.get_layer("hidden").output)
    np.testing.assert_allclose(written, hidden(VALIDATION[0]), rtol=1e-4, atol=1e-5)
    labels = (folder / "train" / embedding.metadata_path).read_text().splitlines()
    assert labels == [str(label) for label in VALIDATION[1]]
    assert list(embedding.sprite.single_image_dim) == [5, 6]
    sprite = tf.io.decode_png((folder / "train" / embedding.sprite.image_path).read_bytes())
    assert sprite.shape == (4 * 6, 4 * 5, 1)
    scaled = np.rint(VALIDATION[0][6] / VALIDATION[0].max() * 255)
    assert np.max(np.abs(sprite.numpy()[6:12, 10:15, 0] - scaled)) <= 1


def test_examples_of_numbers_have_no_images(tmp_path):
    x, y = np.float32(RNG.normal(size=(20, 4))), np.eye(3, dtype="float32")[RNG.integers(0, 3, 20)]
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(5, dtype="float64"), keras.layers.Dense(3, activation="softmax")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    trainer = tl.Trainer(model, "categorical_crossentropy", tl.sgd(0.1), execution="graph")
    trainer.fit(
        (x, y), callbacks=[TensorBoard(tmp_path, graph=False, examples=(x, y), model=model)]
    )
    tags = read(tmp_path / "train").Tags()["tensors"]
    assert {tag.split("/")[0] for tag in tags} == {"epoch", "weights", "gradients"}
    names = {path.name for path in (tmp_path / "train").iterdir() if "tfevents" not in path.name}
    assert names == {"tensors.tsv", "metadata.tsv", "projector_config.pbtxt"}
    labels = (tmp_path / "train" / "metadata.tsv").read_text().split()
    assert labels == [str(k) for k in y.argmax(axis=1)]


def test_several_inputs_and_outputs_have_images_and_a_projector(tmp_path):
    keras.utils.set_random_seed(0)
    x = {"numbers": np.float32(RNG.normal(size=(12, 3))), "picture": X[:12]}
    y = {"number": np.float32(RNG.normal(size=(12, 1))), "kind": np.arange(12) % 3}
    given = {name: keras.Input(a.shape[1:], name=name) for name, a in x.items()}
    parts = [keras.layers.Flatten()(given["picture"]), given["numbers"]]
    hidden = keras.layers.Dense(4, name="hidden")(keras.layers.Concatenate()(parts))
    kinds = keras.layers.Dense(3, activation="softmax", name="of_kind")(parts[0])
    number = keras.layers.Activation("tanh")(keras.layers.Dense(1, name="of_number")(hidden))
    model = keras.Model(given, {"number": number, "kind": kinds})
    losses = {"number": "mean_squared_error", "kind": "sparse_categorical_crossentropy"}
    trainer = tl.Trainer(model, losses, tl.sgd(0.1), execution="graph")
    trainer.fit((x, y), callbacks=[TensorBoard(tmp_path, examples=(x, y), model=model)])
    (pixels,), steps = images(tmp_path / "train", "inputs/picture")
    assert pixels.shape == (3 * 7 - 1, 4 * 6 - 1, 1) and steps == [0]
    written = np.loadtxt(tmp_path / "train" / "tensors.tsv", delimiter="\t")
    expected = keras.Model(model.input, model.get_layer("hidden").output)(x)
    np.testing.assert_allclose(written, expected, rtol=1e-4, atol=1e-5)
    header, *rows = (tmp_path / "train" / "metadata.tsv").read_text().splitlines()
    assert header == "number\tkind"
    assert [row.split("\t")[1] for row in rows] == [str(k % 3) for k in range(12)]
    assert (tmp_path / "train" / "sprite.png").is_file()


def test_the_labels_of_one_named_output_have_no_header(tmp_path):
    write_embeddings(tmp_path, np.zeros([3, 2]), {"kind": np.array([2, 0, 1])}, np.zeros([3, 2]))
    assert (tmp_path / "metadata.tsv").read_text().splitlines() == ["2", "0", "1"]


def test_the_projector_follows_the_calls_of_the_model_that_is_trained():
    first, inner = (
        keras.layers.Dense(3),
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]),
    )
    inputs = keras.Input((4,))
    nested = keras.Model(inputs, inner(first(inputs)))
    assert_hidden(nested, first)

    shared = keras.layers.Dense(2)
    keras.Model(other := keras.Input((3,)), shared(other))
    assert_hidden(keras.Model(inputs, shared(first(inputs))), first)


def assert_hidden(model, layer):
    """Check that the last hidden layer of a model is a layer that its inputs go to first."""
    x = np.float32(RNG.normal(size=(5, 4)))
    np.testing.assert_array_equal(last_hidden(model)(x), layer(x))


def test_a_sum_before_the_outputs_has_nothing_for_the_projector():
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(4)(inputs)
    outputs = keras.layers.Add()([keras.layers.Dense(4)(hidden), inputs])
    assert last_hidden(keras.Model(inputs, outputs)) is None


def test_nested_parameters_have_histograms_and_an_image(tmp_path):
    params = {"first": {"kernel": tf.zeros([30, 3])}, "bias": tf.zeros([3])}

    def apply_fn(params, model_state, x, training):
        logits = tf.reshape(x, [-1, 30]) @ params["first"]["kernel"] + params["bias"]
        return tl.ModelOutput(tf.nn.softmax(logits), model_state)

    trainer_of(tl.FunctionalModel(apply_fn, params)).fit(
        (X, Y), callbacks=[TensorBoard(tmp_path, graph=False, examples=(X[:4], Y[:4]))]
    )
    tags = read(tmp_path / "train").Tags()["tensors"]
    assert {"weights/first/kernel", "first_layer/first/kernel"} <= set(tags)


def test_a_model_of_one_layer_has_nothing_for_the_projector(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    x, y = np.ones([8, 4], "float32"), np.ones([8, 1], "float32")
    trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.1), execution="graph")
    trainer.fit((x, y), callbacks=[TensorBoard(tmp_path, examples=(x, y), model=model)])
    assert not (tmp_path / "train" / "tensors.tsv").exists()


class Killed(BaseException):
    """Raised instead of killing the process."""


class KillAt(Callback):
    """Copies what a killed process would leave on the disk."""

    def __init__(self, moment, at, folder, kept):
        self.moment, self.at, self.folder, self.kept = moment, at, folder, kept
        self.every = 1

    def _kill(self, moment, status):
        if moment == self.moment and status.global_batch == self.at:
            shutil.copytree(self.folder, self.kept)
            raise Killed

    def on_train_batch_end(self, status):
        self._kill("on_train_batch_end", status)

    def on_epoch_end(self, status):
        self._kill("on_epoch_end", status)


KILLS = {
    # batches between checkpoints, where it is killed, the first point after it
    "within an epoch": (4, "on_train_batch_end", 7),
    "at the end of an epoch": (None, "on_train_batch_end", 9),
    "after an epoch, whose last batch was saved": (5, "on_epoch_end", 5),
    "after an epoch, whose last batch was saved and which has a point": (10, "on_epoch_end", 10),
    "before a validation": (5, "on_train_batch_end", 6),
}
FEW = ("within an epoch",)
"""The others run in `make soak`."""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    fit([TensorBoard(folder, steps=2, graph=False)])
    return folder


@pytest.mark.soak
@pytest.mark.parametrize(
    "case", [x if x in FEW else pytest.param(x, marks=pytest.mark.soak) for x in KILLS]
)
def test_a_run_that_was_killed_and_resumed_leaves_each_point_once(case, uninterrupted, tmp_path):
    every, moment, at = KILLS[case]
    before, after = tmp_path / "before", tmp_path / "after"
    saving = SaveEvery(steps=every) if every else SaveEvery(epochs=1)
    board = TensorBoard(before / "events", steps=2, graph=False)
    callbacks = [board, saving, KillAt(moment, at, before, after)]
    with pytest.raises(Killed):
        fit(callbacks, seconds_per_call=1e-9, checkpoints=tl.Checkpoints(before / "saved"))
    board = TensorBoard(after / "events", steps=2, graph=False)
    resumed = tl.Checkpoints(after / "saved", resume=True)
    fit([board, saving], seconds_per_call=1e-9, checkpoints=resumed)
    for part, kinds in (("train", ("epoch", "step", "weights")), ("validation", ("epoch",))):
        for kind in kinds:
            expected = points(uninterrupted / part, kind)
            assert expected
            assert_same_points(points(after / "events" / part, kind), expected)
    raw = [points(after / "events" / "train", kind, purge=False) for kind in ("epoch", "step")]
    doubled = [len(found) - len(dict(found)) for tags in raw for found in tags.values()]
    assert max(doubled) > 0, "the kill should leave points after the checkpoint"


def test_an_interrupted_run_continues_the_same_curves(uninterrupted, tmp_path):
    class StopAt(Callback):
        every = 7

        def on_train_batch_end(self, status):
            if status.global_batch == 7:
                return [tl.callbacks.Save(), tl.callbacks.Stop(resumable=True)]
            return None

    hyperparameters = {"rate": 1.0}
    for resume in (False, True):
        board = TensorBoard(
            tmp_path / "events", steps=2, hyperparameters=hyperparameters, graph=False
        )
        stop = [] if resume else [StopAt()]
        fit([board, *stop], checkpoints=tl.Checkpoints(tmp_path / "saved", resume=resume))
        root = read(tmp_path / "events").Tags()["tensors"]
        assert (hparams.SESSION_END_INFO_TAG in root) == resume
        assert hparams.SESSION_START_INFO_TAG in root
    for kind in ("epoch", "step"):
        expected = points(uninterrupted / "train", kind)
        assert_same_points(points(tmp_path / "events" / "train", kind), expected)


def test_a_run_resumed_with_the_callback_writes_the_epochs_before(uninterrupted, tmp_path):
    saving = SaveEvery(epochs=1)
    fit([saving], epochs=2, checkpoints=tmp_path / "saved")
    resumed = tl.Checkpoints(tmp_path / "saved", resume=True)
    fit([saving, TensorBoard(tmp_path / "a", graph=False)], checkpoints=resumed)
    for part in ("train", "validation"):
        expected = points(uninterrupted / part, "epoch")
        assert_same_points(points(tmp_path / "a" / part, "epoch"), expected)


def test_a_new_run_replaces_one_in_the_same_folder(tmp_path):
    fit([TensorBoard(tmp_path, steps=1, examples=VALIDATION, graph=False)], epochs=3)
    fit([TensorBoard(tmp_path, steps=1, examples=VALIDATION, graph=False)], epochs=1)
    for part, kind in (("train", "epoch"), ("validation", "epoch"), ("train", "weights")):
        for found in points(tmp_path / part, kind).values():
            assert [step for step, _ in found] == [5]
    assert images(tmp_path / "train", "inputs")[1] == [0]


def test_events_with_a_time_in_the_future_are_refused(tmp_path):
    (tmp_path / "events.out.tfevents.9999999999.there.1.0.v2").touch()
    with pytest.raises(ValueError, match=r"holds events with a time in the future: choose another"):
        Events(tmp_path, 0)


def status(**changes):
    history = [{"epoch": 1, "step": 4, "loss": 0.5, "loss_scale": 2.0, "skipped_steps": 1}]
    results = {"per_class": [0.1, 0.2], "overflowed": "kernel", "seconds": 2.0}
    return TrainingStatus(1, 2, 5, 5, 5, [history[0] | results], dict, state=None)._replace(
        **changes
    )


def test_results_that_are_not_numbers_are_left_out(tmp_path):
    board = TensorBoard(tmp_path, histogram_epochs=0, graph=False)
    board.on_train_begin(status(history=[], global_batch=0, batch=0))
    board.on_epoch_end(status())
    board.on_train_end(status())
    found = {tag: float(x) for tag, ((_, x),) in points(tmp_path / "train", "epoch").items()}
    assert found == {"epoch/loss": 0.5, "epoch/loss_scale": 2.0, "epoch/skipped_steps": 1.0}


def test_a_worker_that_does_not_write_takes_part_in_the_computations(tmp_path):
    called = []
    of_worker = status(
        is_chief=False,
        history=[],
        gradients=lambda: called.append("gradients"),
        graph=lambda: called.append("graph"),
    )
    board = TensorBoard(tmp_path / "events", steps=1, hyperparameters={"a": 1})
    board.on_train_begin(of_worker._replace(global_batch=0, batch=0))
    board.on_train_batch_end(of_worker)
    board.on_train_batch_end(of_worker)
    board.on_epoch_end(of_worker)
    board.on_train_end(of_worker._replace(finished=True))
    assert called == ["graph", "gradients"]
    assert not (tmp_path / "events").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"histogram_epochs": -1}, "histogram_epochs must be at least 0, got -1"),
        ({"examples": (X[:0], Y[:0])}, "examples must hold at least one example"),
        ({"examples": ({"a": X[:0]}, Y[:0])}, "examples must hold at least one example"),
        ({"model": object()}, r"model is for the projector, which also needs examples=\(x, y\)"),
    ],
)
def test_wrong_arguments_are_refused(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        TensorBoard(tmp_path, **options)


def test_a_missing_package_is_an_error_that_names_it(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install tensorboard"):
        TensorBoard(tmp_path)
    monkeypatch.undo()
    require_tensorboard()

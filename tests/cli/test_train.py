"""`train` with each function, on data and models of the user, and with invalid input."""

from __future__ import annotations

import gzip
import json
import math
import struct
import sys

import keras
import numpy as np
import pytest
from helpers.executions import soak_except
from helpers.experiments import RUN_FILES

from trainlib.cli import broken_pipe
from trainlib.data import search
from trainlib.experiment.functions import FUNCTIONS
from trainlib.experiment.targets import target_of
from trainlib.registry import OPTIMIZERS, REGULARIZERS

SCHEDULES = {
    "constant": ((), 0.01),
    "exponential_decay": (("--decay_rate=0.25",), 0.005),
    "inverse_time_decay": (("--decay_rate=2",), 0.005),
    "power_decay": (("--power=2",), 0.01 / 1.5**2),
    "polynomial_decay": (("--end_learning_rate=0.002",), 0.006),
    "step_decay": (("--step_size=1",), 0.005),
    "hold_then_decay": (("--hold_steps=1",), 0.01 * math.exp(-0.1)),
    "inverse_sqrt_decay": (("--warmup_steps=2",), 0.005),
    "cosine_decay": ((), 0.005),
    "cosine_decay_restarts": (("--first_decay_steps=2",), 0.005),
    "one_cycle": ((), 0.01 / 25 / 1e4),
    "cyclic": (("--maximal_learning_rate=0.02", "--step_size_up=2"), 0.015),
    "warmup_stable_decay": (("--cooldown_steps=2",), 0.005),
    "linear_warmup": (("--warmup_steps=2",), 0.005),
}
"""Flags that each schedule needs, and its rate at the second of two steps, from 0.01."""
FEW = ("cosine_decay",)
KINDS = ("muon", "schedule_free_adamw")
SOME = ("binary_crossentropy", "huber")
"""Schedules, optimizers and losses tested in every run; soak tests the others."""


@pytest.fixture
def trained(quick, tmp_path):
    """Train two quick steps; return the summary, with the history under "history"."""

    def run(*arguments):
        done = quick("--run_dir=run", *arguments)
        assert (done.status, done.errors) == (0, "")
        folder = tmp_path / "run"
        files = {path.name for path in folder.iterdir()}
        assert files - {"preprocessing.json"} == RUN_FILES
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        summary = json.loads((folder / "summary.json").read_text())
        return summary | {"history": [json.loads(line) for line in lines]}

    return run


@pytest.mark.parametrize("optimizer", soak_except(*KINDS, names=OPTIMIZERS))
def test_every_optimizer_trains(optimizer, trained):
    summary = trained(f"--optimizer={optimizer}")
    (epoch,) = summary["history"]
    assert epoch["learning_rate"] == 0.01
    assert summary["steps"] == epoch["step"] == 2
    assert summary["train"]["loss"] < epoch["loss"]


@pytest.mark.parametrize("schedule", soak_except(*FEW, names=SCHEDULES))
def test_every_schedule_trains(schedule, trained):
    needed, last_rate = SCHEDULES[schedule]
    summary = trained("--optimizer=adamw", f"--schedule={schedule}", *needed)
    assert summary["history"][0]["learning_rate"] == pytest.approx(last_rate)
    assert summary["train"]["loss"] < summary["history"][0]["loss"]


def test_piecewise_rates_by_epoch_train(command, tmp_path):
    flags = "--schedule=piecewise_constant --boundaries=1 --values=0.5,0.25 --boundary=new"
    done = command(
        *("train", *flags.split(), "--per_epoch", "--epochs=2", "--optimizer=sgd"),
        *("--train_examples=64", "--execution=graph", "--noreport", "--run_dir=a"),
    )
    assert done.status == 0, done.err
    lines = (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["learning_rate"] for line in lines] == [0.5, 0.25]
    assert set(SCHEDULES) | {"piecewise_constant"} == set(FUNCTIONS["schedule"])


@pytest.mark.parametrize(
    ("flags", "callback", "name"),
    [
        ("--early_stop --early_stop_mode=max --early_stop_monitor=", "EarlyStopping", ""),
        ("--checkpoint_best_mode=max --checkpoint_best=", "SaveBest", "val_"),
    ],
)
def test_a_result_of_several_values_is_not_monitored(quick, tmp_path, flags, callback, name):
    flags = f"--metrics=confusion_matrix --validation_split=0.5 {flags}{name}confusion_matrix"
    done = quick("--run_dir=run", *flags.split())
    assert (done.status, done.out) == (2, "")
    flag = flags.split()[-1].split("=")[0]
    message = f"{callback} monitors '{name}confusion_matrix', which is not a single number"
    assert done.err == f"train: {flag}: {message}\n"
    assert not (tmp_path / "run").exists()


def test_a_result_whose_direction_is_unknown_needs_a_mode_to_have_a_best(quick):
    done = quick("--metrics=confusion_matrix", "--checkpoint_best=confusion_matrix")
    assert (done.status, done.out) == (2, "")
    assert "more is better: give --checkpoint_best_mode, min or max" in done.err


def test_a_plateau_reduces_the_rate_and_early_stopping_ends_the_run(command, tmp_path):
    done = command(
        "train",
        "--train_examples=107",
        "--optimizer=sgd",
        "--learning_rate=0.5",
        "--epochs=9",
        "--reduce_on_plateau",
        "--reduce_on_plateau_factor=0.5",
        "--reduce_on_plateau_patience=1",
        "--reduce_on_plateau_min_delta=9",
        "--early_stop",
        "--early_stop_patience=3",
        "--early_stop_min_delta=9",
        "--early_stop_restore_best_weights",
        "--execution=graph",
        "--noreport",
        "--run_dir=a",
    )
    assert done.status == 0, done.err
    lines = (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["learning_rate"] for line in lines] == [0.5, 0.5, 0.25, 0.125]
    assert "epoch 2: learning rate 0.5 -> 0.25" in done.err
    assert "stopped after epoch 4: val_loss has not improved on" in done.err
    assert "parameters of epoch 1 restored" in done.err
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["epochs"] == 4
    assert summary["validation"]["loss"] == pytest.approx(json.loads(lines[0])["val_loss"])
    done = command("train", "--resume=a", "--epochs=20")
    assert done.status == 2
    assert "was ended by a callback (stopped after epoch 4: val_loss has not impr" in done.err


def test_an_automatic_learning_rate_is_found_by_a_range_test(command, tmp_path):
    quickly = ("--epochs=1", "--execution=graph", "--noreport")
    done = command("train", "--learning_rate=auto", *quickly, "--run_dir=a")
    assert done.status == 0, done.err
    assert "found by a range test" in done.err.splitlines()[0]
    (line,) = (tmp_path / "a" / "flags.txt").read_text().split("--learning_rate=")[1:]
    found = float(line.splitlines()[0])
    assert 1e-4 < found < 0.1
    assert json.loads((tmp_path / "a" / "metrics.jsonl").read_text())["learning_rate"] == found
    assert (tmp_path / "a" / "lr_find.csv").is_file()


def test_metrics_and_class_weights_are_applied(command, tmp_path):
    flags = ("--train_examples=320", "--validation_split=0", "--epochs=1", "--run_dir=a")
    flags = (*flags, "--execution=graph", "--noreport", "--class_weight=0:0,1:0,2:0,3:0,4:0")
    done = command("train", "--metrics=accuracy,f1_score,auc,confusion_matrix", *flags)
    assert done.status == 0, done.err
    epoch = json.loads((tmp_path / "a" / "metrics.jsonl").read_text())
    counts = np.array(epoch["confusion_matrix"])
    assert counts.shape == (10, 10) and (counts[:5] == 0).all() and counts.sum() > 100
    test = json.loads((tmp_path / "a" / "summary.json").read_text())["test"]
    assert np.sum(test["confusion_matrix"]) == 359
    assert test["accuracy"] == pytest.approx(np.trace(test["confusion_matrix"]) / 359)
    assert "auc" in done.out and "confusion_matrix" not in done.out
    evaluated = command("evaluate", "--run_dir=a")
    again = json.loads(evaluated.out)
    assert again.pop("confusion_matrix") == test.pop("confusion_matrix")
    assert again == pytest.approx(test)


@pytest.mark.parametrize(
    "flag", soak_except("global_clipnorm", names=["clipvalue", "clipnorm", "global_clipnorm"])
)
def test_strongly_clipped_gradients_hardly_change_the_parameters(flag, trained):
    summary = trained("--optimizer=sgd", f"--{flag}=1e-9")
    assert summary["train"]["loss"] == pytest.approx(summary["history"][0]["loss"], rel=1e-6)


@pytest.mark.parametrize("name", soak_except("l1_l2", names=REGULARIZERS))
def test_a_penalty_raises_the_loss(name, trained):
    parts = ["factor"] if name == "orthogonal" else name.split("_")
    flags = [f"--{part}={500 if part == 'factor' else 0.5}" for part in parts]
    summary = trained("--loss=huber", f"--regularizer={name}", *flags)
    penalty_at_least = summary["test"]["loss"] - summary["test"]["mean_absolute_error"]
    assert penalty_at_least > 1, "Huber's loss is at most the absolute error"


@pytest.mark.parametrize("loss", soak_except(*SOME, names=FUNCTIONS["loss"]))
def test_every_loss_trains_on_classes(loss, trained):
    summary = trained(f"--loss={loss}")
    assert summary["train"]["loss"] < summary["history"][0]["loss"]
    by_class = target_of(loss).by_class
    assert summary["classes"] == (10 if by_class else 0)
    assert ("accuracy" in summary["test"]) == by_class


@pytest.mark.parametrize(
    "loss", soak_except("auto", names=["auto", "mean_absolute_error", "huber"])
)
def test_every_loss_for_numbers_trains_on_housing(loss, trained, data_dir):
    summary = trained("--dataset=california_housing", f"--data_dir={data_dir}", f"--loss={loss}")
    assert summary["classes"] == 0
    assert len(summary["feature_names"]) == 8
    assert summary["train"]["loss"] < summary["history"][0]["loss"]


def test_a_run_learns_and_prints_its_results(command, tmp_path):
    flags = ("--optimizer=nadam", "--epochs=3", "--execution=graph", "--noreport")
    done = command("train", *flags, "--run_dir=a")
    first, *epochs = done.err.splitlines()
    test, folder = done.out.splitlines()
    assert first.startswith(
        "digits: 1,294 training, 144 validation, 359 test examples; mlp: 50,610"
    )
    assert [line.split()[:2] for line in epochs] == [["epoch", f"{i}/3"] for i in (1, 2, 3)]
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["test"]["accuracy"] > 0.9
    assert test == "test: loss {loss:.4g}  accuracy {accuracy:.4g}".format(**summary["test"])
    assert folder == "run folder: a"


def test_a_flagfile_repeats_the_run_bit_for_bit(quick, command, tmp_path):
    flags = (
        "--optimizer=adamw",
        "--dropout=0.5",
        "--seed=3",
        "--global_clipnorm=1",
        "--hidden=5,4",
    )
    assert quick("--run_dir=a", *flags).status == 0
    for name, more in {"b": [], "c": ["--seed=4"]}.items():
        done = command("train", "--flagfile=a/flags.txt", f"--run_dir={name}", *more)
        assert (done.status, done.errors) == (0, "")
    hashes = [
        json.loads((tmp_path / name / "summary.json").read_text())["params_sha256"]
        for name in "abc"
    ]
    assert hashes[0] == hashes[1] != hashes[2]
    assert (tmp_path / "a" / "flags.txt").read_text() == (tmp_path / "b" / "flags.txt").read_text()


def test_a_run_without_run_dir_gets_a_folder_of_its_name(quick, tmp_path):
    done = quick("--optimizer=sgd")
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("digits-mlp-sgd-")
    assert done.out.endswith(f"run folder: runs/{folder.name}\n")
    assert {path.name for path in folder.iterdir()} == RUN_FILES


def test_a_terminal_shows_a_progress_bar(quick, monkeypatch):
    monkeypatch.setattr(broken_pipe._ClosableStream, "isatty", lambda stream: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    done = quick("--epochs=2")
    assert "epoch 1/2" in done.err
    assert "\x1b[?25l" in done.err
    assert done.err.rindex("\x1b[?25h") > done.err.rindex("\x1b[?25l")
    assert done.out.startswith("test: ")


ROWS = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
CLASSES = (ROWS.sum(1) > 0).astype(int)


@pytest.fixture
def table(write_table, tmp_path):
    """Write `own.csv` with this target, the price."""

    def write(price):
        write_table(tmp_path / "own.csv", a=ROWS[:, 0], kind=CLASSES, b=ROWS[:, 1], price=price)

    return write


@pytest.mark.parametrize(
    ("arguments", "classes", "names"),
    [
        pytest.param(("--dataset=own.csv",), 0, ["a", "kind", "b"], marks=pytest.mark.soak),
        (("--dataset=own.csv", "--target=kind"), 2, ["a", "b", "price"]),
        (("--dataset=own.npz",), 2, []),
    ],
)
def test_the_users_data_are_trained_on(arguments, classes, names, trained, table, tmp_path):
    table(ROWS[:, 2])
    np.savez(tmp_path / "own.npz", x=ROWS, y=CLASSES)
    summary = trained(*arguments, "--train_examples=48", "--batch_size=24")
    assert (summary["classes"], summary["feature_names"]) == (classes, names)
    assert summary["train"]["loss"] < summary["history"][0]["loss"]


@pytest.fixture
def own_models(tmp_path):
    """Write a module `own_models` into the working folder."""
    (tmp_path / "own_models.py").write_text(
        "import keras\n"
        "def small(shape, outputs):\n"
        "    softmax = keras.layers.Dense(outputs, activation='softmax')\n"
        "    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), softmax])\n"
        "def none(shape, outputs):\n"
        "    return None\n"
        "def broken(shape, outputs):\n"
        "    raise RuntimeError('no model today')\n"
    )
    yield
    sys.modules.pop("own_models", None)


def test_the_users_model_is_trained(own_models, command, tmp_path):
    flags = ["--train_examples=64", "--epochs=1", "--execution=graph", "--noreport"]
    done = command("train", "--model=own_models:small", "--run_dir=a", *flags)
    assert (done.status, done.errors) == (0, "")
    again = command("train", "--model=a/model.keras", "--run_dir=b", *flags)
    assert (again.status, again.errors) == (0, "")
    losses = [
        json.loads((tmp_path / name / "summary.json").read_text())["train"]["loss"] for name in "ab"
    ]
    assert losses[1] < losses[0], "training continues from the saved model"
    assert keras.saving.load_model(tmp_path / "b" / "model.keras").output_shape == (None, 10)


def refused(done, message):
    """Return whether a command ended with status 2 and a line with this message."""
    assert done.status == 2
    assert done.out == ""
    assert done.err.startswith("train: ")
    assert done.err.endswith("\n") and done.err.count("\n") == 1
    assert message in done.err
    return True


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--optimizer=nadm", "unknown optimizer 'nadm': did you mean 'nadam'?"),
        ("--dataset=digit", "unknown data set 'digit' (did you mean 'digits'?)"),
        ("--schedule=cosine", "unknown schedule 'cosine': did you mean 'cosine_decay'?"),
        ("--model=mpl", "unknown model 'mpl': did you mean 'mlp'?"),
        ("--loss=hubr", "unknown loss 'hubr': did you mean 'huber'?"),
        ("--regularizer=l3", "unknown regularizer 'l3'"),
        ("--activation=rellu", "unknown activation 'rellu'"),
        ("--initializer=he_nomal", "unknown initializer 'he_nomal'"),
        ("--optimzer=adam", "unknown flag --optimzer: did you mean --optimizer?"),
        ("--momentum=0.9", "--momentum is not for optimizer adam"),
        ("--alpha=0.5", "--alpha is not for optimizer adam"),
        ("--filters=8", "--filters is not for model mlp"),
        ("--delta=2", "--delta is not for loss auto, which takes --ignore_class; it is for huber"),
        ("--l1=0.1", "--l1 needs --regularizer=l1 or l1_l2"),
        ("--learning_rate=-1", "learning_rate must be at least 0, got -1.0"),
        ("--learning_rate=inf", "learning_rate must be finite and at least 0, got inf"),
        ("--beta_1=1", "beta_1 must be at least 0 and below 1, got 1.0"),
        ("--epsilon=-1", "epsilon must be at least 0, got -1.0"),
        ("--dropout=1", "dropout must be at least 0 and below 1, got 1.0"),
        ("--hidden=8,0", "hidden must be at least 1, got 0"),
        ("--clipnorm=0", "clipnorm must be above 0, got 0.0"),
        ("--validation_split=1", "validation_split must be at least 0 and below 1, got 1.0"),
        ("--validation_split=0.0001", "validation_split 0.0001 keeps 0 of 1438"),
        ("--train_examples=0", "train_examples must be at least 1, got 0"),
        ("--epochs=0", "train: --epochs must be at least 1, got 0\n"),
        ("--batch_size=0", "batch_size must be at least 1, got 0"),
        ("--seed=-1", "seed must be at least 0 and at most 4294967295, got -1"),
        ("--seed=4294967296", "seed must be at least 0 and at most 4294967295"),
        ("--epochs=ten", "flag --epochs=ten: 'ten' is not an integer"),
        (
            "--learning_rate=fast",
            "flag --learning_rate=fast: 'fast' is neither a number nor 'auto'",
        ),
        ("--execution=fast", "flag --execution=fast: choose from auto, graph, xla, xla_update"),
        ("--flagfile=none.txt", "flag --flagfile: none.txt: No such file or directory"),
        ("--data_dir=none", "data_dir is 'none', which is not a folder"),
        ("--target=price", "only a table has columns"),
        ("--dataset=none.csv", "none.csv does not exist"),
        ("--model=none.keras", "model none.keras: there is no such file"),
        ("--model=none:small", "model none:small: No module named 'none'"),
        ("--model=own_models:big", "module 'own_models' has no attribute 'big'"),
        ("--model=own_models:none", "must return a keras.Model, got NoneType"),
        ("--run_dir=own_models.py", "run_dir own_models.py: exists already"),
        ("--run_dir=own_models.py/a", "run_dir: own_models.py is a file, not a folder"),
    ],
)
def test_bad_input_gets_one_line_and_leaves_no_folder(flag, message, own_models, command, tmp_path):
    assert refused(command("train", "--epochs=1", flag), message)
    assert {path.name for path in tmp_path.iterdir()} <= {"own_models.py", "__pycache__"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--loss=huber", "--delta=0"), "delta must be above 0, got 0.0"),
        (
            ("--loss=binary_crossentropy", "--label_smoothing=2"),
            "label_smoothing must be at least 0 and at most 1, got 2.0",
        ),
        (
            ("--schedule=exponential_decay",),
            "train: --schedule exponential_decay needs --decay_rate\n",
        ),
        (("--clipnorm=1", "--clipvalue=1"), "give only one of --clipvalue, --clipnorm"),
        (("--optimizer=sgd", "--nesterov"), "nesterov needs a momentum above 0"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(arguments, message, command, tmp_path):
    assert refused(command("train", *arguments), message)
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_users_code_is_named(own_models, command, tmp_path):
    done = command("train", "--model=own_models:broken")
    place = f"{tmp_path / 'own_models.py'}, line 8"
    message = f"--model own_models:broken: {place}: RuntimeError: no model today"
    assert done == (2, "", f"train: {message}\n")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.where(ROWS > 2, np.nan, ROWS), "y": CLASSES}, "that are NaN or infinite"),
        ({"x": ROWS, "y": np.where(CLASSES, np.inf, 0.5)}, "that are NaN or infinite"),
        ({"x": ROWS, "y": CLASSES - 1}, "own.npz, y has the label -1"),
        (
            {"x_train": ROWS, "y_train": CLASSES, "x_test": ROWS, "y_test": CLASSES + 1},
            "the test part has the label 2, but the training labels end at 1",
        ),
        ({"x": ROWS, "y": CLASSES[1:]}, "x has 60 examples but own.npz, y has 59"),
        ({"x": ROWS}, "own.npz holds the arrays x; give"),
    ],
)
def test_invalid_data_of_the_user_are_refused(arrays, message, command, tmp_path):
    np.savez(tmp_path / "own.npz", **arrays)
    assert refused(command("train", "--dataset=own.npz"), message)
    assert [path.name for path in tmp_path.iterdir()] == ["own.npz"]


@pytest.mark.parametrize(
    ("target", "arguments", "message"),
    [
        ([math.nan] * 60, (), "own.csv: column 'price' is empty"),
        (["dear"] * 60, (), "own.csv: column 'price' is 'dear' in every row"),
        (["dear"] * 60, ("--loss=huber",), "own.csv, line 2, column 'price': 'dear' is not a fin"),
        (ROWS[:, 2], ("--target=prize",), "target is 'prize', but own.csv has no such column"),
    ],
)
def test_a_bad_table_is_refused(target, arguments, message, command, table, tmp_path):
    table(target)
    assert refused(command("train", "--dataset=own.csv", *arguments), message)
    assert [path.name for path in tmp_path.iterdir()] == ["own.csv"]


def test_a_broken_model_file_is_refused(quick, command, tmp_path):
    quick("--run_dir=a")
    whole = (tmp_path / "a" / "model.keras").read_bytes()
    (tmp_path / "own.keras").write_bytes(whole[: len(whole) // 2])
    message = "model own.keras: not a Keras model that can be loaded: it is not a zip archive"
    assert refused(command("train", "--model=own.keras"), message)


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """The folder of a tiny MNIST, `data/mnist`; the real one is not to be found."""
    monkeypatch.delenv("TRAINLIB_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "nothing"))
    monkeypatch.setattr(search, "SYSTEM_FOLDERS", ())
    monkeypatch.setattr(search, "download", no_network)
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    for part, size in (("train", 64), ("t10k", 10)):
        images = np.random.default_rng(size).integers(0, 256, (size, 28, 28), np.uint8)
        labels = np.arange(size, dtype=np.uint8) % 10
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)
    return folder


def no_network(name):
    raise OSError("no network")


def write_idx(path, array):
    head = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes()))


def test_a_data_set_is_read_from_the_folder_given(mnist, trained):
    summary = trained("--dataset=mnist", "--data_dir=data")
    assert (summary["steps"], summary["classes"]) == (2, 10)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train-images-idx3", lambda old: old[:-1], "ubyte.gz declares the shape (64, 28, 28) but"),
        ("train-labels-idx1", lambda old: old[:5], "has 5 bytes, fewer than an IDX header of 8"),
        ("t10k-labels-idx1", lambda old: b"\0\0\x08\x03" + old[4:], "starts with 0x00000803, not"),
        ("t10k-labels-idx1", lambda old: old[:-1] + b"\x0a", "mnist has the label 10"),
    ],
)
def test_a_damaged_data_set_is_refused(name, change, message, mnist, command, tmp_path):
    path = mnist / f"{name}-ubyte.gz"
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()))))
    assert refused(command("train", "--dataset=mnist", "--data_dir=data"), message)
    assert not (tmp_path / "runs").exists()


def test_a_compressed_file_cut_short_is_refused(mnist, command):
    path = mnist / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    message = "train-images-idx3-ubyte.gz cannot be read"
    assert refused(command("train", "--dataset=mnist", "--data_dir=data"), message)


def test_a_data_set_that_is_nowhere_is_refused_with_the_places(mnist, command):
    (mnist / "t10k-images-idx3-ubyte.gz").unlink()
    done = command("train", "--dataset=mnist", "--data_dir=data")
    assert refused(done, "mnist is not in data, ")
    assert refused(done, "and its download failed (OSError: no network); put train-images-idx3-")


def test_a_finished_run_is_never_overwritten(quick, tmp_path):
    assert quick("--run_dir=a").status == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").glob("*.*")}
    message = "--run_dir a: exists already; choose another, or remove it first"
    assert refused(quick("--run_dir=a", "--seed=1"), message)
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").glob("*.*")} == before
    assert set(before) == RUN_FILES - {"checkpoints"}

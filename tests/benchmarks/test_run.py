"""The benchmark on a small scale: what it writes, and that all contenders do the same work."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from trainlib import __version__

ROOT = Path(__file__).parents[2]
RUN = ROOT / "benchmarks" / "run.py"
FAMILIES = ("bare", "keras_default", "keras_best", "torch", "jax")


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch):
    """The files of the benchmark import each other as a script's do."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory):
    return run_quickly(tmp_path_factory.mktemp("quick"), "workloads,update")


@pytest.fixture(scope="module")
def quick_rows(tmp_path_factory):
    """Precisions, replicas and workers: a process each, whose start takes most of the time."""
    return run_quickly(tmp_path_factory.mktemp("rows"), "precision,replicas")


TINY = ("--workloads=tiny", "--contenders=ours,ours_shuffling,bare,keras_default")


def run_quickly(folder, parts, flags=TINY):
    """Return the figures and the tables of some parts."""
    done = subprocess.run(
        [
            sys.executable,
            str(RUN),
            f"--json={folder / 'found.json'}",
            "--quick",
            f"--parts={parts}",
            *flags,
        ],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "found.json").read_text()), done.stdout


@pytest.fixture
def folder(tmp_path):
    """The files of the tiny workload, with the order that a trainer draws."""
    from workloads import WorkloadWriter

    WorkloadWriter(str(tmp_path), "tiny", True).write(1)
    return tmp_path


def positive(x):
    return isinstance(x, float) and math.isfinite(x) and x > 0


@pytest.mark.soak
def test_training_and_evaluation_have_a_rate_and_a_ratio_for_each_family(quick_run):
    found, _ = quick_run
    for part, rate in (("workloads", "steps_per_second"), ("evaluation", "examples_per_second")):
        assert list(found[part]) == ["tiny"]
        row = found[part]["tiny"]
        assert positive(row[rate]) and positive(row["ratio_keras_default"])
        assert positive(row["ratio_bare"])
        assert [row[f"ratio_{family}"] for family in FAMILIES[2:]] == [None] * 3
    assert positive(found["evaluation"]["tiny"]["forward_examples_per_second"])


@pytest.mark.soak
def test_contenders_came_to_the_same_loss(quick_run):
    rows = quick_run[0]["workloads"]["tiny"]["contenders"]
    assert list(rows) == ["ours", "ours_shuffling", "bare", "keras_default"]
    for row in rows.values():
        assert row["check"]["steps"] == 200
        assert max(row["relative_differences"].values()) <= 2e-3
        assert row["steps_per_run"] >= 200


@pytest.mark.soak
def test_updates_have_milliseconds_for_what_ran_and_null_for_what_did_not(quick_run):
    update = quick_run[0]["update"]
    assert list(update) == ["sgd", "adam"]
    for row in update.values():
        for way in ("ours", "ours_graph", "keras_graph", "keras_xla"):
            assert positive(row[f"{way}_ms"])
        assert positive(row["ratio_keras_graph"]) and positive(row["ratio_keras_xla"])
        assert row["torch_fused_ms"] is row["optax_ms"] is row["ratio_optax"] is None


@pytest.mark.soak
def test_precisions_have_rates_and_losses_beside_those_of_float32(quick_rows):
    found = quick_rows[0]["precision"]
    assert set(found["bfloat16"] or ()) <= {"amx_bf16", "avx512_bf16"}
    rows = found["workloads"]["mlp_adam"]
    assert list(rows) == ["float32", "mixed_bfloat16"]
    for row in rows.values():
        assert positive(row["steps_per_second"]) and positive(row["ratio_to_float32"])
        assert row["execution"] in ("graph", "xla", "xla_update")
        assert len(row["steps_per_second_by_round"]) == 2
        assert row["steps"] == 200
    assert rows["float32"]["relative_difference"] == 0
    assert 1e-6 < rows["mixed_bfloat16"]["relative_difference"] <= 0.02


@pytest.mark.soak
def test_replicas_and_workers_have_steps_and_all_reduces(quick_rows):
    found = quick_rows[0]["replicas"]["mlp_adam"]
    for head in ("steps/s", "replicas", "batch; step, ms"):
        assert f"| {head} |" in quick_rows[1]
    assert found["parameters"] == 266_610
    assert list(found["ways"]) == ["one_device", "replicas_2", "workers_2", "workers_2_buckets"]
    assert "all_reduce_ms" not in found["ways"]["one_device"]
    for way, row in found["ways"].items():
        assert positive(row["ms"]) and len(row["ms_by_round"]) == 2
        if way != "one_device":
            for key in ("all_reduce_ms", "all_reduce_of_one_ms", "all_reduce_share"):
                assert positive(row[key])
    assert all(map(positive, found["step_ms_by_batch"].values()))


@pytest.mark.soak
def test_input_and_curves_have_figures_beside_what_they_take_at_least(tmp_path):
    flags = ["--workloads=cnn", "--contenders=ours,keras_default"]
    found, tables = run_quickly(tmp_path, "input,scaling", flags)
    for head in ("input, cnn", "parameters, batch 32", "batch, mlp_adam", "length, batch 32"):
        assert f"| {head} |" in tables
    measured = found["input"]["cnn"]["contenders"]
    assert list(measured) == ["ours", "keras"]
    for rows in measured.values():
        assert list(rows) == ["memory", "mapped", "pipeline", "augmented", "kept", "decoded"]
        assert all(
            positive(row["cpu_ms"]) and positive(row["alone_cpu_ms"]) for row in rows.values()
        )
        assert rows["memory"]["share"] == 0
    for curve in ("step_by_parameters", "step_by_batch"):
        for row in found["scaling"][curve].values():
            assert all(positive(row[key]) for key in ("ms", "products_ms", "traffic_ms"))
    assert found["scaling"]["step_by_parameters"]["10000"]["parameters"] == pytest.approx(
        1e4, rel=0.02
    )


def test_figures_of_the_same_machine_and_versions_are_kept(tmp_path):
    from run import kept_figures

    machine = {"processor": "x", "cores": 2, "versions": {"keras": "3.15.1"}, "date": "today"}
    path = tmp_path / "found.json"
    path.write_text(json.dumps({"machine": machine | {"date": "before"}, "workloads": {"gru": 1}}))
    assert kept_figures(path, machine) == {"machine": machine, "workloads": {"gru": 1}}
    with pytest.raises(SystemExit, match=r"measured with versions .*3\.15\.1.*, not .*3\.16"):
        kept_figures(path, machine | {"versions": {"keras": "3.16"}})


def test_the_table_of_input_has_the_share_alone_and_that_of_the_difference():
    from report import markdown

    memory = {"cpu_ms": 10.0, "share": 0.0, "share_alone": 0.01}
    mapped = {"cpu_ms": 10.4, "share": 0.04, "share_alone": 0.02}
    rows = {"ours": {"memory": memory, "mapped": mapped}, "torch": {"memory": memory}}
    of_images = {"batch_size": 32, "format": "png", "microseconds_to_decode_an_image": 50.0}
    machine = {"processor": "x", "cores": 2, "memory_gib": 1, "system": "y", "python": "3"}
    machine |= {"versions": {}, "load_before": 0.0}
    found = {"machine": machine, "input": {"cnn": {**of_images, "contenders": rows}}}
    table = markdown(found).splitlines()
    assert "| input, cnn | trainlib | PyTorch |" in table
    assert "| arrays in memory | 10 ms | 10 ms |" in table
    assert "| a memory-mapped file | 2.0% (+4.0%) |  |" in table
    assert table[-1] == "| to decode PNG alone | 16.0% |  |"


def test_the_table_of_limits_has_the_shares_of_the_parts_and_the_rest_of_an_epoch():
    from report import markdown

    step = {"ms": 0.5, "one_thread_ms": 0.7, "with_loss_ms": 0.45, "by_hand_ms": 0.4}
    step |= {"products_ms": 0.2, "traffic_ms": 0.1}
    epochs = step | {"long_call_ms": 0.3, "validation_ms": 0.05}
    machine = {"processor": "x", "cores": 2, "memory_gib": 1, "system": "y", "python": "3"}
    machine |= {"versions": {}, "load_before": 0.0}
    limits = {"mlp_adam": step, "housing_epochs": epochs}
    table = markdown({"machine": machine, "limits": limits}).splitlines()
    assert "| mlp_adam | 0.5 | 0.7 | 0.45 | 0.4 | 0.2 | 0.1 | 75% | 60% |" in table
    assert table[-1] == "| housing_epochs | 0.5 | 0.3 | 0.05 | 0.15 |"
    assert len([line for line in table if line.startswith("| mlp_adam ")]) == 1


@pytest.mark.soak
def test_steps_have_their_products_and_traffic_alone(tmp_path):
    workloads = ["mlp_adam", "cnn", "wide_deep", "housing_epochs"]
    flags = [f"--workloads={','.join([*workloads, 'gru'])}"]
    found = run_quickly(tmp_path, "limits", flags)[0]["limits"]
    assert list(found) == workloads
    for row in found.values():
        assert all(map(positive, row.values()))
    assert set(found["housing_epochs"]) > set(found["cnn"])


def test_each_kernel_of_a_network_has_its_product():
    from ideals import _gradients, _kernels
    from workloads import WORKLOADS

    rng = np.random.default_rng(0)
    for name, others in (("mlp_sgd", []), ("wide_deep", []), ("cnn", [(3, 13 * 13 * 32)])):
        of = WORKLOADS[name]
        kernels = _kernels(rng, of)
        found = _gradients(of, kernels, tf.ones((3, *of.input_shape)))
        assert [tuple(g.shape) for g in found] == [tuple(k.shape) for k in kernels] + others


def test_the_products_of_a_step_are_those_of_its_gradients_too():
    from ideals import _gradients
    from workloads import WORKLOADS

    rng = np.random.default_rng(0)
    of = WORKLOADS["mlp_sgd"]._replace(input_shape=(7,), hidden=(5,), outputs=3)
    x, first, second = (rng.standard_normal(n, "float32") for n in ((4, 7), (7, 5), (5, 3)))
    found = _gradients(of, list(map(tf.constant, (first, second))), tf.constant(x))
    y_pred = x @ first @ second
    np.testing.assert_allclose(found[0], x.T @ (y_pred @ second.T), rtol=1e-4)
    np.testing.assert_allclose(found[1], (x @ first).T @ y_pred, rtol=1e-4)


@pytest.mark.parametrize(
    ("workload", "contender", "accelerators", "expected"),
    [
        ("resnet", "jax", 0, True),
        ("resnet", "bare", 0, True),
        ("resnet", "jax", 1, False),
        ("resnet", "torch", 0, False),
        ("cnn", "jax", 0, False),
    ],
)
def test_contenders_under_xla_are_left_out_where_a_cpu_takes_too_long(
    workload, contender, accelerators, expected
):
    from race import Race

    class Ours:
        def call(self, method):
            return {"accelerators": accelerators}[method]

    race = object.__new__(Race)
    race.name, race.workers = workload, {"ours": Ours()}
    assert race._is_too_slow(contender) is expected


def test_convolutions_of_float16_are_left_out_without_an_accelerator():
    from precision import _is_slow

    class Float32:
        def __init__(self, accelerators):
            self.accelerators = accelerators

        def call(self, method):
            return getattr(self, method)

    for accelerators, slow in ((0, True), (1, False)):
        workers = {"float32": Float32(accelerators)}
        assert _is_slow("cnn", "mixed_float16", workers) is slow
        assert not _is_slow("cnn", "mixed_bfloat16", workers)
        assert not _is_slow("wide", "mixed_float16", workers)


@pytest.mark.parametrize("loss", [1.1, math.nan])
def test_a_precision_with_another_loss_is_an_error(loss):
    from precision import _compare
    from race import ResultMismatch

    rows = {"float32": {"loss": 1.0}, "mixed_bfloat16": {"loss": 1.01}, "float64": {"loss": loss}}
    _compare("mixed_bfloat16", rows)
    assert rows["mixed_bfloat16"]["relative_difference"] == pytest.approx(0.01)
    with pytest.raises(ResultMismatch, match="float64 reached a loss of"):
        _compare("float64", rows)


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("flags\t: fma avx512_bf16 fsrm\n", {"amx_bf16": False, "avx512_bf16": True}),
        ("flags\t: fma amx_bf16\nflags\t: other\n", {"amx_bf16": True, "avx512_bf16": False}),
        ("Features\t: fp asimd bf16\n", None),
        (None, None),
    ],
)
def test_instructions_for_bfloat16_are_those_of_the_flags(cpuinfo, expected, monkeypatch):
    from machine import bfloat16_instructions

    def read_text(path):
        if cpuinfo is None:
            raise FileNotFoundError(path)
        return cpuinfo

    monkeypatch.setattr(Path, "read_text", read_text)
    assert bfloat16_instructions() == expected


SUMS = """
import sys; sys.path.insert(0, sys.argv[1])
import replicas; from pathlib import Path
one = replicas.Training(sys.argv[2], "tiny", True, replicas=2)
import tensorflow as tf
print(one._loop_of_sums([(3,), ()])(tf.constant(3), tf.constant(1.0)).numpy())
"""


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        ([5, 5, 5, 5], 2, [[3, 2], [1, 0]]),
        ([1, 1, 100, 1], 2, [[3, 2], [1, 0]]),
        ([100, 1], 4, [[1], [0]]),
        ([7], 4, [[0]]),
    ],
)
def test_buckets_hold_each_gradient_once_the_last_layers_first(sizes, count, expected):
    from replicas import divide_into_buckets

    assert divide_into_buckets(sizes, count) == expected


@pytest.mark.soak
def test_the_all_reduce_that_is_measured_sums_over_the_replicas(folder):
    script = [sys.executable, "-c", SUMS, str(RUN.parent), str(folder)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=120, check=True)
    assert float(done.stdout) == 2**3


@pytest.mark.soak
def test_the_tables_name_the_machine_and_what_was_run(quick_run):
    found, printed = quick_run
    assert found["machine"]["processor"] in printed.splitlines()[0]
    assert f"trainlib {__version__}," in printed.splitlines()[0]
    for head in ("training", "evaluation", "update, ms"):
        assert f"| {head} |" in printed
    table = [line for line in printed.splitlines() if line.startswith("| tiny |")]
    assert [line.count("|") for line in table] == [10, 9]


@pytest.mark.parametrize("flag", ["--workloads=tinny", "--contenders=our", "--parts=workload"])
def test_unknown_names_are_refused_with_the_nearest_known(flag, capsys):
    from run import parse

    with pytest.raises(SystemExit) as ended:
        parse([flag])
    assert ended.value.code == 2
    assert "did you mean" in capsys.readouterr().err


def test_same_work_is_recognized(folder):
    from contenders.bare import Training as Bare
    from contenders.keras_ import Training as Keras
    from contenders.ours import Training as Ours
    from race import check_same_work

    kinds = (Ours, Keras, Bare)
    ours, keras, bare = (kind(folder=folder, name="tiny", quick=True).check() for kind in kinds)
    assert max(check_same_work("keras", ours, keras).values()) < 1e-5
    by_hand = check_same_work("bare", ours, bare)
    assert list(by_hand) == ["loss"] and by_hand["loss"] < 1e-5
    adding = Bare(folder=folder, name="tiny", quick=True, adds_losses=True).check()
    assert check_same_work("bare", ours, adding)["training_loss"] < 1e-5


@pytest.mark.soak
def test_epochs_with_validation_are_the_same_work(tmp_path):
    from contenders import bare, keras_, ours
    from workloads import WorkloadWriter, workload

    WorkloadWriter(str(tmp_path), "housing_epochs", True).write(1)
    steps = 2 * workload("housing_epochs").check_steps
    losses = []
    for module in (ours, keras_, bare):
        training = module.Training(folder=tmp_path, name="housing_epochs", quick=False)
        training.prepare(0, steps)
        assert training.run()["count"] == steps
        training.load("check_order", steps)
        losses.append(training.evaluate(training.place_evaluation(*training._saved("validation_"))))
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)


@pytest.mark.parametrize("changed", ["weights", pytest.param("order", marks=pytest.mark.soak)])
def test_a_contender_with_other_weights_or_another_order_is_an_error(folder, changed):
    from contenders.keras_ import Training as Keras
    from contenders.ours import Training as Ours
    from race import ResultMismatch, check_same_work
    from workloads import read_weights

    ours = Ours(folder=folder, name="tiny", quick=True).check()
    if changed == "weights":
        np.savez(folder / "weights.npz", *[1.1 * w for w in read_weights(folder)])
    else:
        order = np.load(folder / "check_order.npy")
        np.save(folder / "check_order.npy", order // 2)
    keras = Keras(folder=folder, name="tiny", quick=True).check()
    with pytest.raises(ResultMismatch, match="keras reached a loss of .*, trainlib"):
        check_same_work("keras", ours, keras)


@pytest.mark.parametrize(
    "theirs",
    [{"loss": math.nan}, {"training_loss": 1.01}, {"steps": 199}, {"loss": 1.001}],
    ids=["nan", "training loss", "steps", "not trained"],
)
def test_any_difference_is_other_work(theirs):
    from race import ResultMismatch, check_same_work

    ours = {"loss": 1.0, "training_loss": 1.0, "steps": 200, "first_loss": 1.001}
    with pytest.raises(ResultMismatch):
        check_same_work("peer", ours, ours | theirs)


def test_ratios_are_taken_within_a_round_and_to_the_fastest_of_a_family():
    from race import family_ratios, ratios

    rates = {"ours": [2.0, 4.0, 9.0], "torch": [2.0, 2.0, 2.0], "torch_fused": [1.0, 8.0, 3.0]}
    assert ratios(rates) == {"ours": 1.0, "torch": 2.0, "torch_fused": 2.0}
    rates["torch_fused"] = [1.0, 8.0, 9.0]
    assert family_ratios(rates) == {
        "ratio_bare": None,
        "ratio_keras_default": None,
        "ratio_keras_best": None,
        "ratio_torch": 1.0,
        "ratio_jax": None,
    }


NETS = ["tiny", "cnn"]
LONG_NETS = ["wide_deep", "lstm", "gru", "transformer", "separable", "resnet"]


@pytest.mark.parametrize(
    "name", [*NETS, *(pytest.param(name, marks=pytest.mark.soak) for name in LONG_NETS)]
)
def test_the_other_frameworks_nets_are_the_same_function(name):
    jax = pytest.importorskip("jax")
    torch = pytest.importorskip("torch")
    pytest.importorskip("optax")
    from contenders import jax_nets, keras_nets, torch_nets
    from workloads import WORKLOADS, data, first_weights

    rng = np.random.default_rng(0)
    of = WORKLOADS[name]
    weights = [w + np.float32(0.1) for w in first_weights(rng, of)]
    planted = np.zeros((of.vocabulary or int(np.prod(of.input_shape)), of.outputs), "float32")
    x, y = data(rng, 3, planted, of)
    by_keras = keras_nets.make_model(of, weights)(of.structured(x, y)[0])
    converted = np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if x.ndim == 4 else x
    model = torch_nets.make_model(of, weights).eval()
    with torch.no_grad():
        by_torch = model(of.structured(torch.from_numpy(converted), y)[0])
    given = [jax.numpy.asarray(w) for w in weights]
    by_jax, statistics = jax_nets.forward(of, given, of.structured(jax.numpy.asarray(x), y)[0])
    assert not statistics
    outputs = [by_keras, by_torch, by_jax]
    if of.net == "wide_deep":
        outputs = [np.concatenate([y["main"], y["aux"]]) for y in outputs]
    for found in outputs[1:]:
        np.testing.assert_allclose(np.asarray(found), np.asarray(outputs[0]), rtol=1e-3, atol=1e-5)


def test_a_worker_answers_and_says_why_it_cannot(tmp_path):
    from worker import Missing, Worker, WorkerError

    log = tmp_path / "log"
    with Worker("json:JSONEncoder", log) as worker:
        assert worker.call("encode", o=[1]) == "[1]"
        with pytest.raises(WorkerError, match="AttributeError"):
            worker.call("nothing")
    with pytest.raises(Missing, match="no_such_library"):
        Worker("no_such_library:Training", log)
    with pytest.raises(WorkerError, match="ended with status -6"):
        Worker("os:abort", log)


def test_the_plot_is_drawn_with_and_without_a_peer(tmp_path):
    pytest.importorskip("matplotlib")
    from plot import plot_ratios

    ratios = {"bare": 1.0, "keras_default": 60.0, "keras_best": 20.0, "torch": 2.5, "jax": None}
    row = {f"ratio_{family}": ratio for family, ratio in ratios.items()}
    plot_ratios({"workloads": {"tiny": row, "cnn": row}}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")

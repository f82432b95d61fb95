"""Several replicas follow one device to rounding, in processes whose CPU is split in parts."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path

import pytest
from helpers.forked import ForkedPython
from helpers.processes import environment

import trainlib as tl
from trainlib.cli.launch_local import free_ports, tf_configs
from trainlib.training.replicas import part_rows

SCRIPT = Path(__file__).with_name("replica_runs.py")
FEW = ["adam", "prodigy"]
TRANSFORMS = ["accumulate", "masks", "no weight", "not finite", "sum_over_batch_size"]
OTHERS = ["clip", "schedules", "no sample weights", "mean_with_sample_weight"]
OTHERS += ["penalty of the batch"]
OTHERS += ["regularizer", "ema", "compiled", "constrain"]
SOAK = pytest.mark.soak
TWO_OR_FOUR = pytest.mark.parametrize("replicas", [2, pytest.param(4, marks=SOAK)])

ORDINARY = ("optimizers", "statistics", "dropout", "small", "trainers", "refused")
PROCESSES = [
    (2, *ORDINARY),
    (4, "transforms"),
    (2, "other_optimizers", "other_statistics", "compiled_dropout", "beside_keras"),
    (2, "other_trainers", "several_outputs", "other_outputs", "overflow", "calls"),
    (4, "other_transforms", "statistics", "other_statistics", "trainers", "other_trainers"),
]
"""Replicas and runs of each process; all but the first are started by `make soak` only."""


def start(*arguments, **variables):
    return ForkedPython([SCRIPT, *map(str, arguments)], None, environment(**variables))


def outcomes(process):
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out.splitlines()[-1])


def result(outcome):
    assert "error" not in outcome, outcome["error"]
    return outcome["found"]


@functools.cache
def outcomes_of(arguments):
    return outcomes(start(*arguments))


def run(name, replicas):
    (arguments,) = (x for x in PROCESSES if x[0] == replicas and name in x)
    return result(outcomes_of(arguments)[name])


def assert_follows(distances, tolerance):
    assert distances["moved"] > 1e-6
    assert distances["between"] == 0, "replicas diverge"
    assert distances["state"] < tolerance
    assert distances["metric_states"] < tolerance


@pytest.mark.parametrize("name", FEW)
def test_two_replicas_follow_one_device_with_optimizers_of_each_form(name):
    assert_follows(run("optimizers", 2)[name], 1e-12)


@SOAK
@pytest.mark.parametrize("name", [name for name in tl.registry.OPTIMIZERS if name not in FEW])
def test_two_replicas_follow_one_device_with_the_other_optimizers(name):
    assert_follows(run("other_optimizers", 2)[name], 1e-12)


@SOAK
@pytest.mark.parametrize("name", TRANSFORMS)
def test_four_replicas_follow_one_device_with_uneven_and_empty_parts(name):
    assert_follows(run("transforms", 4)[name], 1e-12)


@SOAK
@pytest.mark.parametrize("name", OTHERS)
def test_four_replicas_follow_one_device_with_other_transforms(name):
    assert_follows(run("other_transforms", 4)[name], 1e-12)


@SOAK
def test_replicas_follow_one_device_in_float32():
    assert_follows(run("other_transforms", 4)["float32"], 1e-6)


@TWO_OR_FOUR
@pytest.mark.parametrize("name", ["plain", "sequences"])
def test_batch_normalization_is_over_the_whole_batch(name, replicas):
    assert_follows(run("statistics", replicas)[name], 1e-12)


@SOAK
@pytest.mark.parametrize("replicas", [2, 4])
@pytest.mark.parametrize("name", ["images", "twice", "penalty"])
def test_batch_normalization_of_other_layers_is_over_the_whole_batch(name, replicas):
    assert_follows(run("other_statistics", replicas)[name], 1e-12)


@SOAK
@pytest.mark.parametrize("replicas", [2, 4])
def test_batch_normalization_in_float16_differs_by_its_rounding(replicas):
    assert_follows(run("other_statistics", replicas)["float16"], 2e-3)


DROPOUT = pytest.mark.parametrize(
    "drawn", ["dropout", pytest.param("compiled_dropout", marks=SOAK)]
)


@DROPOUT
def test_dropout_differs_between_replicas_and_between_steps(drawn):
    found = run(drawn, 2)
    first, again = found["draws"]
    assert first == again
    masks = [tuple(mask) for step in first for mask in step]
    assert len(set(masks)) == 4
    assert all(5 < mask.count(0.0) < 45 for mask in masks)


@DROPOUT
def test_seeds_are_equal_on_all_replicas_and_count_the_draws(drawn):
    found = run(drawn, 2)
    assert found["between"] == 0
    assert [draws for _, draws in found["seeds"]] == [2]


def test_evaluation_counts_each_example_once():
    assert run("small", 2)["evaluation"] < 1e-12


def test_a_loss_under_a_mask_is_divided_over_the_whole_batch_in_evaluation():
    found = run("small", 2)["masked_evaluation"]
    by_hand, loss = found["by hand"]
    assert loss == pytest.approx(by_hand, rel=1e-12)
    assert found["one device"] < 1e-12


def test_what_a_part_of_a_batch_cannot_give_is_refused():
    found = run("refused", 2)
    assert found["count"] == 2  # batches
    assert found["mean"].startswith("assigning/kept: the forward pass assigns this variable from")
    assert found["whole"].startswith("the loss has no value for each example, and each replica")
    assert found["equal"] < 1e-12
    assert found["weighted"].startswith("the model adds a penalty that it computes from its batch")
    assert found["whole metric"].startswith("metric dice: it is one number for the whole batch")


def test_a_state_is_read_from_one_replica_and_assigned_to_all():
    found = run("small", 2)["placed"]
    assert found["read"] == [3, 4]
    assert found["copies"] == [[3, 4], [3, 4]]


def test_the_parts_of_a_batch_differ_by_one_example_at_most():
    assert [list(part_rows(i, 4, 10)) for i in range(4)] == [[0, 1, 2], [3, 4, 5], [6, 7], [8, 9]]
    assert [list(part_rows(i, 4, 3)) for i in range(4)] == [[0], [1], [2], [0]]


def test_a_strategy_is_made_once_for_a_number_of_replicas():
    assert run("small", 2)["placed"]["one strategy"]


@SOAK
def test_how_many_steps_a_call_makes_changes_no_bit_of_the_results():
    single_steps, many_steps = run("calls", 2)
    assert single_steps == many_steps


@SOAK
def test_keras_does_not_follow_one_device_with_an_uneven_last_batch():
    found = run("beside_keras", 2)["keras_beside"]
    assert found["keras"] > 0.1 * found["moved"]


@SOAK  # the suite trains like this with launch_local
def test_two_processes_follow_one_device():
    workers = [start(2, "worker", TF_CONFIG=task) for task in tf_configs(free_ports(2))]
    try:
        for found in (result(outcomes(worker)["worker"]) for worker in workers):
            assert found["replicas"] == 2
            assert found["refused"].startswith("data must be arrays on several workers")
            assert found["moved"] > 1e-6
            assert found["state"] < 1e-12
            assert found["metric_states"] < 1e-12
    finally:
        for worker in workers:
            worker.kill()


@TWO_OR_FOUR
@pytest.mark.parametrize(
    ("trainers", "name"),
    [
        ("trainers", "plain"),
        pytest.param("other_trainers", "accumulated", marks=SOAK),
        pytest.param("other_trainers", "averaged", marks=SOAK),
        pytest.param("other_trainers", "unfrozen", marks=SOAK),
    ],
)
def test_a_trainer_on_replicas_follows_one_on_one_device(trainers, name, replicas):
    distances = run(trainers, replicas)[name]
    assert distances.pop("moved") > 1e-3
    assert distances.pop("between") == 0
    assert max(distances.values()) < 1e-12, distances


@pytest.mark.parametrize(
    ("outputs", "name"),
    [
        pytest.param("several_outputs", "masks and weights", marks=SOAK),
        *(
            pytest.param("other_outputs", name, marks=SOAK)
            for name in ("weights by output", "masks", "compiled", "accumulated")
        ),
    ],
)
def test_losses_by_output_on_replicas_follow_those_on_one_device(outputs, name):
    distances = run(outputs, 2)[name]
    assert distances.pop("moved") > 1e-3
    assert distances.pop("between") == 0
    assert max(distances.values()) < 1e-12, distances


@SOAK
def test_an_overflow_on_one_replica_skips_the_step_on_all():
    found = run("overflow", 2)
    assert found["skipped"][0] == found["skipped"][1] == 1
    assert found["overflowed"][0] == found["overflowed"][1]
    assert found["steps"] == [4, 4] and found["scales"] == [2**14, 2**14]
    assert found["finite"] and found["between"] == 0
    assert found["params"] < 1e-3  # rounding of float16 at other places


@SOAK
def test_an_infinity_on_the_second_replica_reaches_no_weight_except_in_keras():
    found = run("beside_keras", 2)["overflow_beside"]
    assert found["ours"] == [0.0, 0.0]
    assert not math.isfinite(found["keras"][0])


@SOAK
def test_gradients_are_clipped_after_the_sum_except_in_keras():
    found = run("beside_keras", 2)["clipping_beside"]
    norm = math.hypot(50, 1.5)
    assert found["ours"] == pytest.approx([-50 / norm, -1.5 / norm], rel=1e-6)
    assert math.hypot(*found["keras"]) == pytest.approx(math.sqrt(2), rel=1e-6)


def test_a_first_batch_may_be_uneven():
    assert math.isfinite(run("small", 2)["uneven_first_batch"])

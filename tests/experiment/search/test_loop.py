"""The loop of a search: which trials there are does not depend on the order in which they end."""

from __future__ import annotations

import pytest

pytest.importorskip("optuna")

import trainlib as tl  # noqa: E402
from trainlib.experiment.jobs import Failure, JobResult  # noqa: E402
from trainlib.experiment.search import study as studies  # noqa: E402
from trainlib.experiment.search.candidate import Outcome  # noqa: E402
from trainlib.experiment.search.checks import searched_config  # noqa: E402
from trainlib.experiment.search.loop import TrialQueue  # noqa: E402
from trainlib.experiment.search.samplers import make_sampler  # noqa: E402
from trainlib.experiment.search.space_text import parse_space  # noqa: E402

SEARCHED = searched_config(
    tl.ExperimentConfig(), parse_space("learning_rate=log(1e-4,1); optimizer={sgd,nadam}")
)


def open_study(folder, sampler, seed=3, name="tune"):
    place = studies.StudyPlace(str(folder / "study.journal"), name, "none", 1)
    return studies.open_study(place, make_sampler(sampler, seed, []), True, {"a": 1})


def outcome(candidate):
    return Outcome((candidate.drawn["learning_rate"],), 1, 0.5, False)


def drive(queue, order):
    """Run a queue as two processes would, of which `order` says which ends next; the records."""
    running, told, position = [], [], 0
    while True:
        while len(running) < 2 and (candidate := next(queue, None)) is not None:
            running.append((position, candidate))
            position += 1
        if not running:
            return told
        place, candidate = running.pop(order(len(running)))
        told += queue.end(JobResult(place, outcome(candidate), None))


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_trials_are_the_same_in_whatever_order_they_end(sampler, tmp_path):
    found = []
    for name, order in (("first", lambda n: 0), ("last", lambda n: n - 1)):
        study = open_study(tmp_path, sampler, name=name)
        told = drive(TrialQueue(study, SEARCHED, "me", 24, ahead=4), order)
        found.append([(record.number, record.params) for record in told])
    assert found[0] == found[1]
    assert [number for number, _ in found[0]] == list(range(24))


def test_a_random_trial_depends_on_the_seed_and_its_number_only(tmp_path):
    at_once = drive(TrialQueue(open_study(tmp_path, "random"), SEARCHED, "me", 6, 0), lambda n: 0)
    for trials in (2, 6):  # the second is resumed
        study = open_study(tmp_path, "random", name="parts")
        drive(TrialQueue(study, SEARCHED, "me", trials, 0), lambda n: n - 1)
    in_parts = study.records()
    assert [x.params for x in in_parts] == [x.params for x in sorted(at_once)]
    assert len({x.params["learning_rate"] for x in in_parts}) == 6


def test_interrupted_trials_are_run_again_with_their_values_and_numbers(tmp_path):
    queue = TrialQueue(open_study(tmp_path, "random"), SEARCHED, "me", 4, 0)
    interrupted = [next(queue), next(queue)]
    list(queue.end(JobResult(1, outcome(interrupted[1]), None)))
    others = TrialQueue(open_study(tmp_path, "random"), SEARCHED, "other", 4, 0)
    assert next(others).number == 2
    again = TrialQueue(open_study(tmp_path, "random"), SEARCHED, "me", 4, 0)
    assert next(again) == interrupted[0]
    assert next(again).number == 3


def test_a_failure_is_recorded_and_the_trials_go_on(tmp_path):
    study = open_study(tmp_path, "tpe")
    queue = TrialQueue(study, SEARCHED, "me", 2, 0)
    next(queue)
    failure = Failure("NonFiniteError", "the loss of epoch 1 is not finite", "")
    (record,) = queue.end(JobResult(0, None, failure))
    list(queue.end(JobResult(1, outcome(next(queue)), None)))
    assert next(queue, None) is None
    assert [x.state for x in study.records()] == ["failed", "complete"]
    assert study.records()[0] == record
    assert record.error == "NonFiniteError: the loss of epoch 1 is not finite"


def test_another_search_of_the_same_name_is_refused(tmp_path):
    open_study(tmp_path, "tpe")
    place = studies.StudyPlace(str(tmp_path / "study.journal"), "tune", "none", 1)
    with pytest.raises(ValueError, match="is of another search: its a is 1, here it is 2"):
        studies.open_study(place, make_sampler("tpe", 0, []), True, {"a": 2})

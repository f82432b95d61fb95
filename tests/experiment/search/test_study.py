"""Studies: their storages, and which trials end early."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("optuna")

from trainlib.experiment.search.samplers import check_packages, make_sampler  # noqa: E402
from trainlib.experiment.search.storage import without_password  # noqa: E402
from trainlib.experiment.search.study import StudyPlace, open_study  # noqa: E402
from trainlib.tools.trial_records import TrialRecord  # noqa: E402


def opened(place, sampler="random", grid=()):
    return open_study(place, make_sampler(sampler, 0, grid), True, {"a": 1})


@pytest.mark.parametrize("storage", ["study.journal", "study.db", "sqlite:///{folder}/study.db"])
def test_a_trial_is_reported_and_ended_by_who_opens_the_study(storage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = StudyPlace(storage.format(folder=tmp_path), "tune", "median", 3)
    study = opened(place)
    number = study.ask("me").number
    study.ask("me").suggest_float("x", 0, 1)
    place.open().running(number).report(0.5, 1)  # by the process that trains it
    study.tell(TrialRecord(number, "pruned", 0.5, {}, (0.5,), 1, 2.5))
    other = place.open()
    assert other.records() == [TrialRecord(number, "pruned", 0.5, {}, (0.5,), 1, 2.5)]
    assert [x for x, _ in other.unfinished("me")] == [1] and other.size() == 2
    assert other.unfinished("someone else") == []


def test_hyperband_ends_trials_at_the_powers_of_three_only(tmp_path):
    place = StudyPlace(str(tmp_path / "study.journal"), "tune", "hyperband", 9)
    study, lengths = opened(place), []
    for value in range(30):  # each trial is worse than those before it
        number = study.ask("me").number
        trial = place.open().running(number)
        for step in range(1, 10):
            trial.report(float(value), step)
            if trial.should_prune():
                break
        lengths.append(step)
        study.tell(TrialRecord(number, "pruned", float(value), {}))
    assert set(lengths) == {1, 3, 9}
    assert lengths.count(1) > lengths.count(9)


def test_a_grid_begins_again_where_two_processes_ask_for_its_last_trial(tmp_path):
    grid = [{"x": "a"}, {"x": "b"}]
    study = opened(StudyPlace(str(tmp_path / "study.journal"), "tune", "none", 1), "grid", grid)
    drawn = [study.ask("me").suggest_categorical("x", ["a", "b"]) for _ in range(3)]
    assert drawn == ["a", "b", "a"]


def test_a_sampler_names_the_packages_that_are_missing(monkeypatch):
    def find(name):
        return None if name == "torch" else True

    monkeypatch.setattr("importlib.util.find_spec", find)
    with pytest.raises(ValueError, match="^sampler gp needs torch and scipy: pip install torch$"):
        check_packages("gp")


def test_the_driver_of_a_server_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    place = StudyPlace("postgresql+psycopg2://ann:secret@server/a", "tune", "none", 1)
    with pytest.raises(ValueError, match=": pip install psycopg2-binary$") as caught:
        opened(place)
    assert str(caught.value).startswith("storage postgresql+psycopg2://ann@server/a needs psycopg2")


@pytest.mark.parametrize(
    "storage", ["postgresql+psycopg://ann@server/optuna", "sqlite:////a/b.db", "/shared/a.journal"]
)
def test_a_storage_without_a_password_is_shown_as_it_is(storage):
    assert without_password(storage) == storage
    assert without_password("mysql+pymysql://a:b@c/d") == "mysql+pymysql://a@c/d"

"""The command of a run repeats it; date and versions are those of its summary."""

from __future__ import annotations

import datetime
import shlex

import trainlib as tl
from trainlib.experiment.flat import from_flags
from trainlib.experiment.provenance import command_line, made_now, provenance
from trainlib.experiment.search.options import TuneConfig

CONFIG = tl.ExperimentConfig(
    epochs=3, seed=7, param_rules=".*/bias:weight_decay=0; out/.*:freeze", norms=True
)


def test_a_command_gives_the_same_configuration_in_a_shell():
    name, *flags = shlex.split(command_line("train", CONFIG))
    assert name == "train" and from_flags(tl.ExperimentConfig, "\n".join(flags)) == CONFIG
    assert not any(flag.startswith("--batch_size") for flag in flags)  # a default


def test_options_and_further_flags_are_written_where_they_are_not_the_defaults():
    search = "rate=log(1,9); depth=int(0,2)"
    command = command_line("tune", CONFIG, TuneConfig(trials=8, monitor="val_loss"), search=search)
    flags = shlex.split(command)
    assert flags[:2] == ["tune", f"--search={search}"]
    assert "--trials=8" in flags and not any("monitor" in flag for flag in flags)


def test_a_page_shows_the_date_and_the_versions_of_the_summary():
    made = made_now()
    date = datetime.datetime.fromisoformat(made["date"])
    assert date.utcoffset() == datetime.timedelta(0)
    shown = provenance("train", CONFIG, made)
    assert shown.date == f"{date:%Y-%m-%d %H:%M} UTC" and shown.seed == "7"
    assert shown.versions["trainlib"] == tl.__version__
    assert str(provenance("train", CONFIG)) == "seed 7"  # not finished

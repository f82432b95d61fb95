"""Whatever is wrong with a command line or a file, one line says so, and nothing is written."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from absl import flags
from helpers.bad_inputs import Case, all_cases, declared, runs
from helpers.bad_inputs.cases import SMALL
from helpers.commands import errors_in
from helpers.fork_server import TIMED_OUT, ForkServer

from trainlib.cli.app import with_dashes
from trainlib.cli.errors import one_line
from trainlib.cli.flags import experiment_config
from trainlib.cli.train import define

LIMIT = 20.0
"""Seconds in which a command ends."""
WRITTEN_IN_MEMORY = "TF_CONFIG="


@pytest.fixture(scope="module")
def saved(server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Train the runs that cases copy."""
    folder = tmp_path_factory.mktemp("saved")
    done = server.run(folder, "train", *SMALL, "--epochs=2", "--run_dir=run")
    assert done.status == 0, done.err
    done = server.run(folder, "train", *SMALL, "--epochs=4", "--run_dir=stopped", "--stop_after=6")
    assert done.status == 75, done.err
    runs.sources = folder


def outcome(server: ForkServer, case: Case, folder: Path) -> str:
    """Return what is wrong with how a command refuses a case, "" if nothing is."""
    case.files(folder)
    before = contents(folder)
    variables = dict(x.split("=", 1) for x in case.arguments if x.startswith(WRITTEN_IN_MEMORY))
    arguments = [x for x in case.arguments if not x.startswith(WRITTEN_IN_MEMORY)]
    done = server.run(folder, case.command, *arguments, limit=LIMIT, **variables)
    lines, after = errors_in(done.err).splitlines(), contents(folder)
    if case.sets_aside:
        before, after = ({x for x in found if "checkpoints" not in x} for found in (before, after))
    faults = [
        (done.status == TIMED_OUT, f"still running after {LIMIT:.0f} s"),
        (done.status != case.status, f"status {done.status}"),
        (len(lines) != 1, f"{len(lines)} lines"),
        (
            not any(x and x in done.err for x in case.says) and "" not in case.says,
            "names neither flag nor file",
        ),
        ("Traceback" in done.err, "traceback"),
        (any(not (x.isprintable() or x == "\n") for x in done.err), "control characters"),
        (after != before, f"wrote {sorted(after - before)[:3]}"),
    ]
    found = [text for is_so, text in faults if is_so]
    return (
        f"{'; '.join(found)} ({done.seconds:.1f} s)\n    {done.err.strip()[:600]}" if found else ""
    )


def contents(folder: Path) -> set[str]:
    """Return the names of all files and folders, with the sizes of files."""
    return {
        f"{path.relative_to(folder)} {path.lstat().st_size if path.is_file() else ''}"
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


def test_there_are_a_thousand_cases_of_all_kinds_with_unique_names():
    names = [case.name for case in all_cases()]
    assert len(set(names)) == len(names) >= 1000


def refusal(case: Case, values: Any) -> str:
    """Return the message with which the flags of a case are refused, "" if they are not."""
    values.unparse_flags()
    for name in values:
        values[name].unparse()
    try:
        values(["train", *case.arguments])
        experiment_config(values)
    except (ValueError, TypeError, flags.Error) as error:
        return with_dashes(one_line(error), values)
    return ""


@pytest.mark.parametrize("step", [60, pytest.param(1, marks=pytest.mark.soak)])
def test_every_value_out_of_its_declaration_is_refused_before_anything_is_built(step):
    values: Any = flags.FlagValues()
    define(values)
    unnamed = {}
    for case in itertools.islice(declared.cases(), 0, None, step):
        message = refusal(case, values)
        if not any(x in message for x in case.says):
            unnamed[case.name] = message
    assert not unnamed


@pytest.mark.soak
def test_every_bad_input_is_refused_in_one_line(server, saved, tmp_path):
    """Some cases only: $BAD_INPUTS=FIRST:LAST:STEP, $BAD_INPUTS_NAMED=REGEX."""
    part = slice(*(int(x) if x else None for x in os.environ.get("BAD_INPUTS", ":").split(":")))
    chosen = os.environ.get("BAD_INPUTS_NAMED", "")
    unclean = {}
    for number, case in enumerate(c for c in list(all_cases())[part] if re.search(chosen, c.name)):
        folder = tmp_path / str(number)
        folder.mkdir()
        if fault := outcome(server, case, folder):
            unclean[case.name] = fault
        shutil.rmtree(folder, ignore_errors=True)
    if report := os.environ.get("BAD_INPUTS_REPORT"):
        Path(report).write_text("".join(f"{name!r}: {fault}\n" for name, fault in unclean.items()))
    assert not unclean, json.dumps(unclean, indent=1)

"""The command `verify`."""

from __future__ import annotations

import functools
import json
import re
import sys

import pytest

import trainlib.verify.compare as compare
from trainlib.cli import verify
from trainlib.registry import CONSTRAINTS
from trainlib.verify.peer_process import PeerProcesses


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command; its status and what it printed."""

    def runs(*arguments):
        monkeypatch.setattr(sys, "argv", ["verify", *arguments])
        status = 0
        try:
            verify.main()
        except SystemExit as end:
            status = end.code
        return status, capsys.readouterr()

    return runs


def test_a_table_of_passes_is_printed_and_written(run, tmp_path):
    path = tmp_path / "a" / "table"
    status, printed = run(
        "--optimizer=sgd", "--against=keras", "--steps=20", "--run=graph", f"--output={path}"
    )
    assert not status
    lines = json.loads(path.with_suffix(".json").read_text())
    assert {line["passed"] for line in lines} == {True}
    assert max(line["error"] for line in lines) <= 1e-12
    assert f"{len(lines)} passed, 0 failed, 0 not run" in printed.out
    text = path.with_suffix(".md").read_text()
    assert text.count("| pass |") == len(lines) and "| sgd |" in text
    assert re.search(r"^Written on 20..-..-.. by `verify --optimizer=sgd .*keras \d", text, re.M)


def test_a_wrong_function_fails_with_status_1(run, monkeypatch):
    right = compare.run_optimizer

    def wrong(make, problem, *rest):
        path = right(make, problem, *rest)
        path[-1]["wide"] = path[-1]["wide"] * (1 + 1e-11)
        return path

    monkeypatch.setattr(compare, "run_optimizer", wrong)
    arguments = ("--optimizer=sgd", "--against=keras", "--steps=20", "--run=eager")
    status, printed = run(*arguments)
    assert status == 1
    assert "FAIL" in printed.out and "step 20 of wide" in printed.out


def test_an_absent_peer_is_not_run_and_does_not_pass(run, monkeypatch):
    monkeypatch.setattr(compare, "missing_reason", lambda peer, needs: f"{peer} is not installed")
    status, printed = run("--optimizer=adam", "--against=torch")
    assert not status
    assert "not run  torch is not installed" in printed.out
    assert "0 passed, 0 failed" in printed.out


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--optimizer=adm", "unknown optimizer 'adm': did you mean 'adam'?"),
        ("--against=kears", "unknown against 'kears': did you mean 'keras'?"),
        ("--run=", "--run must hold at least one of eager, graph, xla"),
        ("--steps=0", "steps must be at least 1"),
        ("--kind=schedules", "unknown kind 'schedules': did you mean 'schedule'?"),
        ("--schedule=one_cycl", "unknown schedule 'one_cycl': did you mean 'one_cycle'?"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(run, argument, message):
    status, printed = run(argument)
    assert status == 2
    assert message in printed.err and printed.err.count("\n") == 1


def test_one_kind_leaves_out_another(run):
    status, printed = run("--kind=clipping", "--loss=huber")
    assert (status, printed.err) == (2, "verify: --loss=huber: --kind does not include this kind\n")


@pytest.mark.parametrize(
    ("arguments", "kinds", "names"),
    [
        (
            ("--schedule=step_decay,polynomial_decay",),
            {"schedule"},
            {"step_decay", "polynomial_decay"},
        ),
        (("--kind=constraint",), {"constraint"}, set(CONSTRAINTS)),
        (("--kind=constraint,loss", "--loss=huber"), {"constraint", "loss"}, None),
    ],
)
def test_kinds_and_names_are_those_asked_for(arguments, kinds, names, run, tmp_path):
    flags = ("--against=keras,numpy", "--run=graph", f"--output={tmp_path / 'table'}")
    status, printed = run(*arguments, *flags)
    assert not status, printed.out
    lines = json.loads((tmp_path / "table.json").read_text())
    assert {line["kind"] for line in lines} == kinds
    assert names is None or {line["name"] for line in lines} == names
    assert all(line["passed"] and line["error"] <= line["bound"] for line in lines)
    assert "| kind | names | forms |" in (tmp_path / "table.md").read_text()


def test_a_wrong_schedule_fails_with_status_1(run, monkeypatch):
    right = compare.our_outputs

    def wrong(case, dtype, how):
        return {name: x * (1 + 1e-11) for name, x in right(case, dtype, how).items()}

    monkeypatch.setattr(compare, "our_outputs", wrong)
    status, printed = run("--schedule=step_decay", "--against=keras", "--run=eager")
    assert status == 1 and "FAIL" in printed.out


PEER = """
import os
import sys
if sys.argv[1] == "torch":
    os._exit(3)
from trainlib.verify.peer_process import serve
serve(sys.argv[1])
"""


def test_a_peer_that_ends_its_process_is_not_run_and_the_others_are(run, monkeypatch, tmp_path):
    """As PyTorch's LLVM does, once TensorFlow's is loaded."""
    (tmp_path / "ending.py").write_text(PEER)
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    processes = functools.partial(PeerProcesses, "ending")
    monkeypatch.setattr(verify, "PeerProcesses", lambda module: processes())
    status, printed = run("--optimizer=sgd", "--against=torch,keras", "--steps=5", "--run=eager")
    assert not status
    assert "not run  the process of torch ended with status 3" in printed.out
    assert "keras  eager" in printed.out and " 0 failed" in printed.out

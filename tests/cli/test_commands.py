"""The table of commands is what is installed, what a checkout runs, and what is documented."""

from __future__ import annotations

import configparser
import importlib
from pathlib import Path

import pytest

from trainlib.cli.commands import COMMANDS

ROOT = Path(__file__).parents[2]
SCRIPTS = [command.name for command in COMMANDS.values() if command.is_script]


def test_the_installed_commands_are_those_of_the_table_in_its_order():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options.entry_points"]["console_scripts"].split("\n")
    found = dict(line.split(" = ") for line in lines if line)
    assert list(found) == ["trainlib", *SCRIPTS]
    assert found.pop("trainlib") == "trainlib.cli.main:main"
    assert all(found[name] == f"{COMMANDS[name].module}:main" for name in SCRIPTS)


def test_a_checkout_has_a_script_for_each_installed_command():
    assert {path.stem for path in (ROOT / "scripts").glob("*.py")} == set(SCRIPTS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_its_module(name):
    assert callable(importlib.import_module(COMMANDS[name].module).main)

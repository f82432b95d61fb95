"""Pages of the documentation as programs: their fenced blocks, run one after another."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from helpers.processes import environment

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"^(?:<!-- needs: (?P<needs>[\w, ]+) -->\n\n)?```(?P<language>python|bash)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def blocks(path: str, languages: Sequence[str] = ("python", "bash")) -> Iterator[tuple[str, str]]:
    """Yield the language and the text of each fenced block of a page of the repository.

    A block after `<!-- needs: a, b -->` is left out where one of these packages is missing.
    """
    text = (ROOT / path).read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        needs = (match["needs"] or "").replace(",", " ").split()
        if match["language"] in languages and all(map(importlib.util.find_spec, needs)):
            yield match["language"], match["text"]


def run_page(
    path: str, folder: Path, languages: Sequence[str] = ("python", "bash")
) -> dict[str, Any]:
    """Run the blocks of a page in a folder, and return the names that its Python defines."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    commands = _commands(folder.parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        for number, (language, text) in enumerate(blocks(path, languages)):
            if language == "python":  # from a file, whose source AutoGraph can read
                file = folder / f"block_{number}.py"
                file.write_text(text, encoding="utf-8")
                exec(compile(text, str(file), "exec"), namespace)
            else:
                run_bash(text, folder, commands)
    for name, module in list(sys.modules.items()):  # pages have modules of the same names
        if Path(getattr(module, "__file__", None) or "/").is_relative_to(folder):
            del sys.modules[name]
    return namespace


def run_bash(text: str, folder: Path, commands: Path) -> None:
    """Run a block of commands, each of which must end with status 0."""
    done = subprocess.run(
        ["bash", "-ec", text],
        cwd=folder,
        env=environment(PATH=f"{commands}{os.pathsep}{os.environ['PATH']}"),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"


def _commands(folder: Path) -> Path:
    """Return a folder with the commands of this checkout, also where it is not installed."""
    from trainlib.cli.commands import COMMANDS

    found = folder / "commands"
    found.mkdir(exist_ok=True)
    modules = {name: x.module for name, x in COMMANDS.items() if x.is_script}
    for name, module in {**modules, "trainlib": "trainlib.cli.main"}.items():
        file = found / name
        file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        file.chmod(0o755)
    python = found / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return found

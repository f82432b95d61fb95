"""Every module of the benchmarks and every generator of the documentation imports."""

from __future__ import annotations

from pathlib import Path

from helpers.processes import run_python

ROOT = Path(__file__).parents[2]

IMPORT_ALL = """
import importlib, pathlib, sys
for folder in ("benchmarks", "docs"):
    names = [path.stem for path in pathlib.Path(folder).glob("*.py")]
    assert names, folder
    sys.path.insert(0, folder)
    for name in names:
        importlib.import_module(name)
    sys.path.pop(0)
    for name in names:  # both folders have a module `scaling`
        del sys.modules[name]
"""


def test_every_script_imports():
    done = run_python("-c", IMPORT_ALL, cwd=ROOT)
    assert done.returncode == 0, done.stderr

"""Every module of the benchmarks and every generator of the documentation imports."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.processes import run_python

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("folder", ["benchmarks", "docs"])
def test_every_script_imports(folder):
    scripts = sorted((ROOT / folder).glob("*.py"))
    assert scripts
    names = ", ".join(path.stem for path in scripts)
    done = run_python("-c", f"import sys; sys.path.insert(0, {folder!r}); import {names}", cwd=ROOT)
    assert done.returncode == 0, done.stderr

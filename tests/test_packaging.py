"""What is installed: a wheel made from the source archive, used in an environment of its own."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import trainlib

ROOT = Path(__file__).parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")

USER = '''
"""A user's program, checked by mypy --strict."""

from typing import Any

import numpy as np

import trainlib as tl

config = tl.ExperimentConfig(dataset="digits", optimizer=tl.config("nadam", learning_rate=1e-3))
result: tl.ExperimentResult = tl.run_experiment(config)
accuracy: float = (result.test or {})["accuracy"]
optimizer: tl.Optimizer = tl.chain(tl.clip_by_global_norm(1.0), tl.adamw(1e-3))


def train(model: Any, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    trainer = tl.Trainer(model, "mse", optimizer, metrics=["mae"])
    history = trainer.fit((x, y), epochs=5, callbacks=[tl.callbacks.SaveEvery(epochs=1)])
    return dict(history[-1])
'''
WRONG = {
    'tl.ExperimentConfig(epochs="5")': "arg-type",
    "tl.adamw(learning_rates=1e-3)": "call-arg",
    "tl.run_experiment()": "call-arg",
    "tl.no_such_name": "attr-defined",
}
"""Lines that the types refuse, with the code of mypy's error."""


def run(*command, cwd):
    """Run a command to its end, without this checkout on the path, and return what it prints."""
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    options = {"capture_output": True, "text": True, "timeout": 600, "env": outside}
    done = subprocess.run(list(map(str, command)), cwd=cwd, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_metadata_name_the_license_and_the_version_once():
    metadata = SETUP["metadata"]
    assert metadata["license_expression"] == "Apache-2.0"
    assert metadata["author"] == "trainlib contributors"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {trainlib.__version__}\n" in citation


def test_each_extra_is_documented():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    extras = set(SETUP["options.extras_require"]) - {"dev"}
    assert {extra for extra in extras if f"[{extra}]" not in text} == set()


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The source archive, and the wheel made from it."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (source,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return source, wheel


@pytest.mark.soak
def test_the_archives_hold_what_belongs_to_them(archives):
    source, wheel = archives
    with tarfile.open(source) as file:
        found = {name.partition("/")[2] for name in file.getnames()}
    needed = {"LICENSE", "README.md", "CHANGELOG.md", "Makefile", "tests/conftest.py"}
    assert needed | {"docs/reference.py", "trainlib/data/digits.npz"} <= found
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    assert {"trainlib/py.typed", "trainlib/cli/shells/completion.bash"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests", "docs", "benchmarks")) for name in names)
    ours = {str(p.relative_to(ROOT)) for p in (ROOT / "trainlib").rglob("*.py")}
    assert ours <= names


@pytest.fixture(scope="module")
def installed(archives, tmp_path_factory):
    """The commands of an environment with this wheel, and the packages that are here."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = Path(run(python, "-c", code, cwd=folder).strip())
    # Its dependencies are found here; a path in a .pth file reads no further .pth, so that a
    # trainlib that is installed in place is not.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    pip = (python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps")
    run(*pip, archives[1], cwd=folder)
    return python.parent


@pytest.mark.soak
def test_the_wheel_trains_and_predicts_in_an_empty_folder(installed, tmp_path):
    where = run(
        installed / "python", "-c", "import trainlib; print(trainlib.__file__)", cwd=tmp_path
    )
    assert where.startswith(str(installed.parent))
    out = run(installed / "train", "--epochs=1", "--hidden=8", "--run_dir=a", cwd=tmp_path)
    assert out.startswith("test: loss ")
    rows = run(installed / "predict", "--run_dir=a", cwd=tmp_path)
    assert rows.count("\n") == 360
    assert "nadam" in run(installed / "trainlib", "list", "optimizers", cwd=tmp_path)
    assert "_trainlib" in run(installed / "trainlib", "completion", "bash", cwd=tmp_path)
    version = run(installed / "python", "-m", "trainlib", "--version", cwd=tmp_path)
    assert version.startswith(f"trainlib {trainlib.__version__} ")


@pytest.mark.soak
def test_the_public_types_check_a_users_program(installed, tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "user.py").write_text(USER)
    wrong = "\n".join(["import trainlib as tl", *WRONG])
    (tmp_path / "wrong.py").write_text(wrong)
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = true\n[mypy-tensorflow.*,keras.*,matplotlib.*]\n"
        "follow_imports = skip\nignore_missing_imports = true\n"
    )
    mypy = [sys.executable, "-m", "mypy", f"--python-executable={installed / 'python'}"]
    run(*mypy, "user.py", cwd=tmp_path)
    done = subprocess.run([*mypy, "wrong.py"], cwd=tmp_path, capture_output=True, text=True)
    codes = re.findall(r"wrong\.py:(\d+): error: .*\[([\w-]+)\]", done.stdout)
    assert codes == [(str(2 + i), code) for i, code in enumerate(WRONG.values())], done.stdout

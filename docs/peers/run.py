"""Run reproductions of failures of Keras, PyTorch and Optax, each in a new process.

python docs/peers/run.py                      # all; needs torch, jax and optax for some
python docs/peers/run.py replicas             # those whose title or file contains a word
python docs/peers/run.py --write              # also writes docs/peers.json, or a part of it

None of them imports trainlib. What is printed is what was got, and what is right.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
FILES = ("keras_replicas", "keras_training", "torch_optax")
PACKAGES = ("tensorflow", "keras", "torch", "jax", "optax")
MARK = "result: "


def cases(file: str) -> dict[str, Callable[[], tuple[str, str]]]:
    """Return the reproductions of a file by title."""
    return runpy.run_path(str(FOLDER / f"{file}.py"))["CASES"]


def titles(file: str) -> list[str]:
    """Return the titles of a file, which is not imported."""
    text = (FOLDER / f"{file}.py").read_text(encoding="utf-8")
    body = text.partition("\nCASES = {\n")[2]
    return [line.split('"')[1] for line in body.splitlines() if line.startswith('    "')]


def run_here(file: str, words: list[str]) -> None:
    """Import a file, and run its reproductions, each in a fork, which has not used TensorFlow."""
    for title, reproduce in cases(file).items():
        if not wanted(words, file, title):
            continue
        sys.stdout.flush()
        if os.fork() == 0:
            try:
                result = reproduce()
            except BaseException as error:
                result = (f"not run: {type(error).__name__}: {error}", "")
            print(MARK + json.dumps([title, *result]), flush=True)
            os._exit(0)
        os.wait()


def wanted(words: list[str], file: str, title: str) -> bool:
    """Return whether a reproduction is asked for."""
    return all(word.lower() in f"{file} {title}".lower() for word in words)


def found(words: list[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield file, title and result of the reproductions that are asked for."""
    for file in FILES:
        if not any(wanted(words, file, title) for title in titles(file)):
            continue
        process = subprocess.Popen(
            [sys.executable, __file__, *words, "--here", file],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"},
        )
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(MARK):
                title, got, right = json.loads(line.removeprefix(MARK))
                print(f"{title}\n    got    {got}\n    right  {right}", flush=True)
                yield file, title, got, right
        if process.wait():
            print(f"{file}: not run, a package is missing", flush=True)


def versions() -> str:
    """Return the versions that are installed."""
    parts = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            parts.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(parts)


def write(results: list[list[str]], words: list[str]) -> None:
    """Write docs/peers.json; with words, the other results stay as they are.

    Raises:
        SystemExit: the other results are of other versions.
    """
    path = FOLDER.parent / "peers.json"
    content = {"date": datetime.date.today().isoformat(), "versions": versions()}
    if words:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["versions"] != content["versions"]:
            raise SystemExit(f"{path} is of {found['versions']}: run all, without words")
        new = {result[1]: result for result in results}
        results = [new.get(result[1], result) for result in found["results"]]
    path.write_text(json.dumps(content | {"results": results}, indent=2) + "\n")


def main() -> None:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", help="words of titles or files; all if there are none")
    parser.add_argument("--write", action="store_true", help="write docs/peers.json")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        run_here(given.here, given.words)
        return
    results = list(found(given.words))
    if given.write:
        write([list(result) for result in results], given.words)


if __name__ == "__main__":
    main()

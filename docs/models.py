"""Write the page on models from docs/models.in.md.

    python docs/models.py                  # writes docs/models.md
    python docs/models.py --keep-results   # keeps what the commands printed before

In the source, `{{hyperparameters NAME}}` stands for the table of a model's hyperparameters,
`{{parameters NAME SHAPE OUTPUTS}}` for its number of parameters, and `{{$ COMMAND}}` for a command
and what it prints in an empty folder. The commands must be on the PATH.
"""

from __future__ import annotations

import ast
import re
import sys
import tempfile
from pathlib import Path

from pages import block

import trainlib as tl

HERE = Path(__file__).resolve().parent
PAGE = HERE / "models.md"


def main() -> None:
    """Write the page."""
    text = (HERE / "models.in.md").read_text(encoding="utf-8")
    old = _results(PAGE.read_text(encoding="utf-8")) if "--keep-results" in sys.argv else {}
    text = re.sub(r"\{\{hyperparameters (\w+)\}\}", lambda m: hyperparameters(m[1]), text)
    text = re.sub(r"\{\{parameters (.*?)\}\}", lambda m: parameters(*m[1].split()), text)
    with tempfile.TemporaryDirectory() as folder:

        def result(match: re.Match[str]) -> str:
            return old.get(match[1]) or block(match[1], Path(folder))

        text = re.sub(r"\{\{\$ (.*?)\}\}", result, text)
    PAGE.write_text(text, encoding="utf-8")


def hyperparameters(model: str) -> str:
    """Return the table of a model's hyperparameters, from the registry."""
    rows = ["| flag | sets | default |", "| --- | --- | --- |"]
    for name, h in tl.registry.hyperparameters(tl.models.MODELS[model]).items():
        default = "" if h.default is None else f"`{h.default_text or ','.join(h.default)}`"
        rows.append(f"| `--{name}` | {h.help} | {default} |")
    return "\n".join(rows)


def parameters(model: str, shape: str, outputs: str) -> str:
    """Return the number of a model's parameters, with thousands separated."""
    built = tl.models.MODELS[model](ast.literal_eval(shape), int(outputs))
    return f"{built.count_params():,}"


def _results(page: str) -> dict[str, str]:
    """Return the commands of a page, with what follows them, by command."""
    blocks = re.findall(r"(?:^    .*\n)+", page, re.MULTILINE)
    found = {b.partition("\n")[0].removeprefix("    $ "): b.rstrip("\n") for b in blocks}
    return {command: b for command, b in found.items() if not command.startswith("    ")}


if __name__ == "__main__":
    main()

"""Write docs/peers.md from docs/peers.json, which `python docs/peers/run.py --write` makes.

python docs/peers/page.py
"""

from __future__ import annotations

import ast
import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER.parent / "peers.md"
LIBRARIES = {"keras_replicas": "Keras", "keras_training": "Keras"}
HEADINGS = {
    "keras_replicas": "Keras on several replicas",
    "keras_training": "Keras on one device",
    "torch_optax": "PyTorch and Optax",
}
HEAD = """# Where other libraries are wrong

With this page you can reproduce results of Keras, PyTorch and Optax that differ from what one
expects, with the versions on your machine. trainlib is compared with these libraries number by
number; in these cases agreement would have been wrong. All three are excellent software, and most
of the cases are rare: look for those that concern you.

    pip install torch jax optax             # those of them that you want to check
    python docs/peers/run.py                # all
    python docs/peers/run.py accumulation   # those with this word

None of the reproductions imports trainlib. Results of {date}, with {versions}; the replicas are
two halves of a CPU.

{summary}
"""


def sources(file: str) -> dict[str, str]:
    """Return the text of the function of each reproduction by title; nothing is imported."""
    text = (FOLDER / f"{file}.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    functions = {
        x.name: ast.get_source_segment(text, x) or ""
        for x in tree.body
        if isinstance(x, ast.FunctionDef)
    }
    (table,) = (
        x.value for x in tree.body if isinstance(x, ast.Assign) and isinstance(x.value, ast.Dict)
    )
    names = {key.value: value.id for key, value in zip(table.keys, table.values, strict=True)}  # type: ignore[union-attr]
    return {title: functions[name] for title, name in names.items()}


def section(file: str, title: str, got: str, right: str, source: str, note: Any) -> str:
    """Return the section of a reproduction."""
    link = f" [A thread about it]({note.link})." if note.link else ""
    return f"""### {title}

{note.why}{link}

- Got: {got}
- Right: {right}
- trainlib: {note.here}

<details markdown="1"><summary>Show the reproduction, from docs/peers/{file}.py</summary>

```python
{source}
```

</details>"""


def page() -> str:
    """Return the page."""
    found = json.loads((FOLDER.parent / "peers.json").read_text(encoding="utf-8"))
    notes = runpy.run_path(str(FOLDER / "notes.py"))["NOTES"]
    results = [result for result in found["results"] if result[3]]
    rows = [
        [LIBRARIES.get(file, title.partition(":")[0]), _link(title), _cell(got), _cell(right)]
        for file, title, got, right in results
    ]
    table = [["library", "what", "got", "right"], ["---"] * 4, *rows]
    summary = "\n".join(f"| {' | '.join(row)} |" for row in table)
    parts = [HEAD.format(date=found["date"], versions=found["versions"], summary=summary)]
    for file in HEADINGS:
        parts.append(f"## {HEADINGS[file]}")
        parts += _sections(file, results, notes)
    return "\n\n".join(parts).replace("\n\n\n", "\n\n") + "\n"


def _sections(file: str, results: list[list[str]], notes: Any) -> Iterator[str]:
    """Yield the sections of a file."""
    texts = sources(file)
    for found_in, title, got, right in results:
        if found_in == file:
            yield section(file, title, got, right, texts[title], notes[title])


def _link(title: str) -> str:
    """Return a link to the section of a reproduction."""
    words = "".join(x for x in title.lower() if x.isalnum() or x in " -_")
    library, _, rest = title.partition(": ")
    shown = rest if library in ("PyTorch", "Optax") else title
    return f"[{shown}](#{words.replace(' ', '-')})"


def _cell(text: str) -> str:
    """Return a text that does not end its cell of a table."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

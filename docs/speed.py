"""Write the page on speed with the tables of what the benchmark measured.

python docs/speed.py    # writes docs/speed.md from docs/speed.in.md and the figures that it names
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))

from report import markdown  # noqa: E402

FIGURES = re.compile(r"^\{\{docs/(\w+\.json)\}\}$", re.MULTILINE)


def page() -> str:
    """Return the page: each line that names a file of figures is replaced by its tables."""
    text = (HERE / "speed.in.md").read_text(encoding="utf-8")
    return FIGURES.sub(lambda match: tables(match[1]), text)


def tables(name: str) -> str:
    """Return the tables of a file in this folder, as the benchmark prints them."""
    return markdown(json.loads((HERE / name).read_text(encoding="utf-8")))


if __name__ == "__main__":
    (HERE / "speed.md").write_text(page(), encoding="utf-8")

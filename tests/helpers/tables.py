"""Tables of text as files, and those that every reader of tables refuses."""

from __future__ import annotations

from pathlib import Path

INVALID = [
    ("", "has no rows"),
    ("a,b\n", "has no rows"),
    ("1,2\n3,4\n", "has no header"),
    ("a,\n1,2\n", "column 2 has no name"),
    ("a,a\n1,2\n", "two columns are named 'a'"),
    ("a,b\n1,2\n\n1\n", "line 4: 1 cells, but the header has 2"),
]
"""The text of a table, and the message about it."""


def write(path: Path, content: str | bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path

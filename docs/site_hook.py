"""Hooks of MkDocs: pages of files outside of docs/, those of the reference, tables of README.md.

`make docs` calls them. Links between pages are written for a reader of the repository; here they
become links between pages of the site.
"""

from __future__ import annotations

import importlib
import json
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

import reference
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {
    "README.md": "readme.md",
    "BUILD.md": "build.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "LICENSE": "license.txt",
}
"""Files outside of docs/ and their place in the site."""
BOOST = {"workflows.md": 50}
"""Pages that the search ranks higher: what people look for by the name of a technique is there."""
_LINK = re.compile(r"(?<=\]\()([^)\s#]*)(#[^)\s]*)?(?=\))")
_TABLE = re.compile(r"^\{\{(\S+) (\w+)\}\}$", re.MULTILINE)
_SPEED = "{{docs/speed.json}}"
_CONTENTS = "{{docs/reference.py}}"


def read(path: str) -> str:
    """Return the text of a file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not files of docs/."""
    for name, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=read(name)))
    for page, text in reference.pages().items():
        files.append(File.generated(config, page, content=text))
    return files


def on_config(config: Any) -> Any:
    """Add the topics of the reference to its part of the navigation."""
    listed = next(part["Reference"] for part in config["nav"] if "Reference" in part)
    listed.extend({topic.title: topic.page} for topic in reference.TOPICS)
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Fill in the tables, and let links lead to pages of the site."""
    uri = page.file.src_uri
    source = {site: name for name, site in OUTSIDE.items()}.get(uri, f"docs/{uri}")
    page.meta.setdefault("search", {"boost": BOOST.get(uri, 1)})
    markdown = markdown.replace(_SPEED, speed()) if _SPEED in markdown else markdown
    if _CONTENTS in markdown:  # its links are those of the site already
        return markdown.replace(_CONTENTS, reference.contents())
    markdown = _TABLE.sub(lambda match: table(match[1], match[2]), markdown)
    return _LINK.sub(lambda match: _link(match[1], match[2] or "", source, uri), markdown)


def table(path: str, column: str) -> str:
    """Return the first table of a file whose first column has this heading."""
    found = re.search(rf"^\| {column} \| .*?(?=\n\n)", read(path), re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"{path} has no table that begins with the column {column}")
    return found[0]


def speed() -> str:
    """Return the tables of the benchmark, as it prints them."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        report = importlib.import_module("report")
    finally:
        sys.path.pop(0)
    return report.markdown(json.loads(read("docs/speed.json")))


def _link(target: str, anchor: str, source: str, page: str) -> str:
    """Return a link of a file of the repository as one between pages of the site."""
    if "://" in target or not target:
        return target + anchor
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    if path in OUTSIDE:
        to = OUTSIDE[path]
    elif path.startswith("docs/") and (ROOT / path).exists():
        to = path.removeprefix("docs/")
    else:
        return target + anchor
    return posixpath.relpath(to, posixpath.dirname(page) or ".") + anchor

"""Hooks of MkDocs: pages of files outside of docs/, the reference by topic, tables of README.md.

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

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = "docs/reference.md"
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


def read(path: str) -> str:
    """Return the text of a file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def reference_pages() -> dict[str, str]:
    """Return the pages of the reference: its contents, and a page for each topic."""
    head, *topics = re.split(r"^## (?=[A-Z])", read(REFERENCE), flags=re.MULTILINE)
    contents, *topics = topics
    contents = contents.partition("\n")[2]
    pages = {"reference/index.md": head + contents}
    for topic in topics:
        title = topic.partition("\n")[0]
        text = re.sub(r"^##(?=#+ (tl\.|\w+\.\w+$))", "#", f"# {topic}", flags=re.MULTILINE)
        pages[f"reference/{title.lower().replace(' ', '_')}.md"] = text
    return pages


def anchors() -> dict[str, str]:
    """Return the page of each anchor of the reference."""
    found = {}
    for page, text in reference_pages().items():
        for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE):
            slug = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
            found.setdefault(slug, page)
    return found


PAGES = reference_pages()
ANCHORS = anchors()


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not files of docs/."""
    for name, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=read(name)))
    for page, text in PAGES.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_config(config: Any) -> Any:
    """Add the reference to the navigation, after the guides."""
    titles = ["Reference", *(re.match(r"# (.+)", text)[1] for text in list(PAGES.values())[1:])]
    entries = [
        {title: page} if page != "reference/index.md" else page
        for title, page in zip(titles, PAGES, strict=True)
    ]
    config["nav"].insert(-2, {"Reference": entries})
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Fill in the tables, and let links lead to pages of the site."""
    uri = page.file.src_uri
    origin = {**{site: name for name, site in OUTSIDE.items()}, **dict.fromkeys(PAGES, REFERENCE)}
    source = origin.get(uri, f"docs/{uri}")
    page.meta.setdefault("search", {"boost": BOOST.get(uri, 1)})
    markdown = markdown.replace(_SPEED, speed()) if _SPEED in markdown else markdown
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
    if "://" in target or (not target and source != REFERENCE):
        return target + anchor
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    path = path if target else source
    if path == REFERENCE:
        to = ANCHORS.get(anchor.lstrip("#"), "reference/index.md")
        anchor = "" if to != "reference/index.md" and _is_title(anchor, to) else anchor
    elif path in OUTSIDE:
        to = OUTSIDE[path]
    elif path.startswith("docs/") and (ROOT / path).exists():
        to = path.removeprefix("docs/")
    else:
        return target + anchor
    return posixpath.relpath(to, posixpath.dirname(page) or ".") + anchor


def _is_title(anchor: str, page: str) -> bool:
    """Return whether an anchor is that of the title of a page of the reference."""
    return page == f"reference/{anchor.lstrip('#').replace('-', '_')}.md"

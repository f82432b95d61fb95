"""Hooks of MkDocs: pages of files outside of docs/, the reference, tables of README.md, the search.

`make docs` calls them. Links between pages are written for a reader of the repository; here they
become links between pages of the site.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
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
BOOST = {
    "workflows.md": 50,
    **dict.fromkeys(("build.md", "changelog.md", "peers.md", "verification.md"), 0.3),
    **{topic.page: 0.5 for topic in reference.TOPICS},
}
"""How much higher the search ranks a page than others."""
KEYWORDS = {
    "concepts/clipping.md": "clipnorm clipvalue global_clipnorm",
    "concepts/losses.md": "from_logits label smoothing",
    "concepts/regularization.md": "weight decay kernel_regularizer max-norm",
    "concepts/schedules.md": "LearningRateScheduler CosineDecay warmup one cycle",
    "data.md": "imbalanced unbalanced generator tf.data image_dataset_from_directory",
    "export.md": "save a model SavedModel TFLite ONNX",
    "guides/mixed_precision.md": "mixed_float16 LossScaleOptimizer",
    "guides/own_functions.md": "custom loss metric callback schedule data set",
    "guides/own_optimizer.md": "custom optimizer",
    "guides/preemption.md": "preemptible spot",
    "guides/reproducibility.md": "deterministic determinism reproducible set_random_seed",
    "index.md": "install",
    "migration/optax.md": "Optax JAX",
    "migration/pytorch.md": "PyTorch torch Lightning",
    "reference/transforms.md": "gradient_accumulation_steps",
    "runs.md": "resume checkpoint ModelCheckpoint BackupAndRestore NaN loss debug",
    "scaling.md": "distributed training",
    "search.md": "hyperparameter tuning KerasTuner Optuna",
    "transfer.md": "fine-tuning freeze layers transfer learning",
    "tutorial/own_loop.md": "custom training loop GradientTape train_step train_on_batch",
    "tutorial/schedules.md": "learning rate finder",
    "tutorial/several_devices.md": "distributed training multi-GPU MirroredStrategy TF_CONFIG",
}
"""Words that people type for a page, besides those of `docs/workflows.md`."""
COMMON = 5
"""A word that techniques of more pages than this have is a keyword of none."""
_ROW = re.compile(r"^\| (?!technique|Keras|---)(.+?) \| (?:.* \| )?(.+?) \|$", re.MULTILINE)
_LINK = re.compile(r"(?<=\]\()([^)\s#]*)(#[^)\s]*)?(?=\))")
_TABLE = re.compile(r"^\{\{(\S+) (\w+)\}\}$", re.MULTILINE)
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


def keywords() -> dict[str, str]:
    """Return what people type for a page: words of its techniques, of Keras, and `KEYWORDS`."""
    topics = {f"`{e.name}`": t.page for t, found in reference.by_topic().items() for e in found}
    words: dict[str, set[str]] = {}
    for technique, documented in _ROW.findall(read("docs/workflows.md")):
        links = [target for target, _ in _LINK.findall(documented)]
        pages = [OUTSIDE.get(posixpath.basename(target), target) for target in links]
        pages += [topics[name] for name in re.findall(r"`[^`]+`", documented) if name in topics]
        for page in pages or ["workflows.md"]:
            words.setdefault(page, set()).update(re.findall(r"[\w-]{3,}", technique.lower()))
    in_pages = Counter(word for found in words.values() for word in found)
    lists = {page: [w for w in found if in_pages[w] <= COMMON] for page, found in words.items()}
    keras = " ".join(cell for cell, _ in _ROW.findall(read("docs/migration/keras.md")))
    lists["migration/keras.md"] = re.findall(r"[A-Z]\w+[a-z]\w*|[a-z]+_\w+", keras)
    pages = lists.keys() | KEYWORDS.keys()
    return {p: " ".join([*sorted(set(lists.get(p, ()))), KEYWORDS.get(p, "")]) for p in pages}


FOUND_BY = keywords()


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Fill in the tables, and let links lead to pages of the site."""
    uri = page.file.src_uri
    source = {site: name for name, site in OUTSIDE.items()}.get(uri, f"docs/{uri}")
    page.meta.setdefault("search", {"boost": BOOST.get(uri, 1)})
    page.meta.setdefault("tags", [FOUND_BY[uri]] if uri in FOUND_BY else [])
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

"""Prints the reference of every rule in the registry, as Markdown.

python docs/reference.py > docs/reference.md
"""

from __future__ import annotations

import inspect

import trainlib.registry as registry

HEAD = """# Reference

Every name that flags and `Trainer` take, with its function in `trainlib`. Made by
`python docs/reference.py > docs/reference.md`.
"""

GALLERY = """All of them, over 100 steps, with the arguments in docs/pictures.py, which draws them.

![The curves of all schedules](schedules/gallery.svg)
"""


def reference() -> str:
    """The whole page."""
    parts = [HEAD]
    for kind, table in registry.KINDS.items():
        parts.append(f"## {kind}\n")
        if kind == "schedule":
            parts.append(GALLERY)
        for name, function in table.items():
            text = inspect.getdoc(function) or ""
            parts.append(f"### {name}\n\n```\n{name}{_arguments(function)}\n\n{text}\n```\n")
            if kind == "schedule":
                parts.append(f"![The curve of {name}](schedules/{name}.svg)\n")
    return "\n".join(parts)


def _arguments(function: object) -> str:
    """What a function takes, without the types, which the text below it explains."""
    signature = inspect.signature(function)  # type: ignore[arg-type]
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(inspect.Signature(bare))


if __name__ == "__main__":
    print(reference(), end="")

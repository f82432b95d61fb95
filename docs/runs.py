"""Write the page on runs, with what its commands print in an empty folder.

    python docs/runs.py     # writes docs/runs.md and its curve; needs matplotlib and tensorboard

The image of TensorBoard is a screenshot of the same run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PICTURES = HERE / "run_pictures"
FLAGS = "--hidden=1000,1000 --dropout=0.2 --optimizer=nadam --reduce_on_plateau"
LONG = f"train {FLAGS} --epochs=30 --checkpoint_steps=100 --tensorboard --run_dir="
COMMANDS = {
    "killed": f"timeout --signal=KILL 15 {LONG}mine",
    "ls": "ls mine/checkpoints",
    "resumed": "train --resume=mine",
    "whole": f"{LONG}whole",
    "compared": "grep -h params_sha256 mine/summary.json whole/summary.json",
    "events": "find mine/tensorboard -type f | sed 's/[0-9]\\{10\\}.*/.../' | sort -u",
    "diverges": "train --optimizer=sgd --learning_rate=1e30 --nonfinite=stop --run_dir=wild",
    "replayed": "train --resume=wild --replay_step=2 | cut -c1-131 | grep -B5 -A8 '^>'",
    "verify_resume": f"train {FLAGS} --verify_resume --verify_steps=50",
    "signal": f"timeout --preserve-status --signal=TERM 15 {LONG}stopped",
}
SHOWN = 14
"""Maximal number of lines shown for a command: of more, the first and the last ones."""


def main() -> None:
    """Run the commands and write the page."""
    text = (HERE / "runs.in.md").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for name in re.findall(r"^\{\{(\w+)\}\}$", text, re.MULTILINE):
            text = text.replace(f"{{{{{name}}}}}", _block(COMMANDS[name], Path(folder)))
        PICTURES.mkdir(exist_ok=True)
        shutil.copy(Path(folder, "mine", "loss.png"), PICTURES / "loss.png")
    (HERE / "runs.md").write_text(text, encoding="utf-8")


def _block(command: str, folder: Path) -> str:
    """Return a command and what it prints, indented."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"COLUMNS": "100"},
    )
    lines = [line for line in done.stdout.splitlines() if line]
    if len(lines) > SHOWN:
        lines = [*lines[: SHOWN // 2], "...", *lines[-SHOWN // 2 :]]
    if done.returncode:
        lines.append(f"(status {done.returncode})")
    return "\n".join(f"    {line}".rstrip() for line in [f"$ {command}", *lines])


if __name__ == "__main__":
    main()

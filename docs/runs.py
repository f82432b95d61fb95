"""Write the page on runs, with what its commands print in an empty folder.

    python docs/runs.py     # writes docs/runs.md and its curve

It needs the commands on the PATH (`pip install .`), matplotlib and tensorboard, and stops at the
first command that ends with another exit status than expected. The image of TensorBoard is a
screenshot of the same run.
"""

from __future__ import annotations

import re
import shutil
import signal
import tempfile
from pathlib import Path

from pages import block

HERE = Path(__file__).parent
PICTURES = HERE / "run_pictures"
FLAGS = "--hidden=1000,1000 --dropout=0.2 --optimizer=nadam --reduce_on_plateau"
LONG = f"train {FLAGS} --epochs=30 --checkpoint_steps=100 --tensorboard --run_dir="
COMMANDS = {
    "killed": f"{LONG}mine",
    "ls": "ls mine/checkpoints",
    "resumed": "train --resume=mine",
    "uninterrupted": f"{LONG}uninterrupted",
    "compared": "grep -h params_sha256 mine/summary.json uninterrupted/summary.json",
    "events": "find mine/tensorboard -type f | sed 's/[0-9]\\{10\\}.*/.../' | sort -u",
    "diverges": "train --optimizer=sgd --learning_rate=1e30 --nonfinite=stop --run_dir=wild",
    "replayed": "train --resume=wild --replay_step=2 | cut -c1-131 | grep -B5 -A8 '^>'",
    "verify_resume": f"train {FLAGS} --verify_resume --verify_steps=50",
    "signal": f"{LONG}stopped",
}
SIGNALS = {"killed": ("epoch  5", signal.SIGKILL), "signal": ("epoch  2", signal.SIGTERM)}
"""Signals sent to a command, each after the first line that begins with a text."""
STATUSES = {"killed": -signal.SIGKILL, "signal": 75, "diverges": 1}
"""Expected exit statuses that are not 0."""


def main() -> None:
    """Run the commands and write the page."""
    text = (HERE / "runs.in.md").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for name in re.findall(r"^\{\{(\w+)\}\}$", text, re.MULTILINE):
            text = text.replace(f"{{{{{name}}}}}", _block(name, Path(folder)))
        PICTURES.mkdir(exist_ok=True)
        shutil.copy(Path(folder, "mine", "loss.png"), PICTURES / "loss.png")
    (HERE / "runs.md").write_text(text, encoding="utf-8")


def _block(name: str, folder: Path) -> str:
    """Run a command in a folder, and return it and what it prints, indented."""
    after, number = SIGNALS.get(name, (None, signal.SIGTERM))
    return block(COMMANDS[name], folder, after, number, STATUSES.get(name, 0))


if __name__ == "__main__":
    main()

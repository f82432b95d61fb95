"""Write the page on augmentation with the table of all steps, and draw the sheet of examples.

python docs/augmentation.py     # writes docs/augmentation.md and .png; needs matplotlib and
                                # Fashion-MNIST
"""

from __future__ import annotations

import inspect
import io
import re
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import trainlib as tl
from trainlib.augmentation import AUGMENTATIONS
from trainlib.registry import hyperparameters
from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.augmentation import Augmenter

HERE = Path(__file__).parent
EXAMPLES = {
    "flip": "flip=horizontal",
    "rotation": "rotation=0.1",
    "zoom": "zoom=0.3",
    "translation": "translation=0.2",
    "shear": "shear=0.3",
    "crop": "crop=4",
    "contrast": "contrast=0.8",
    "brightness": "brightness=0.4",
    "noise": "noise=0.1",
    "autocontrast": "autocontrast=0.5",
    "cutout": "cutout=10",
    "erasing": "erasing=0.5",
    "randaugment": "randaugment=2:15",
    "mixup": "mixup=0.5",
    "cutmix": "cutmix=1",
}
"""What the sheet shows of each step; saturation needs colors."""
COLUMNS = 12


def page() -> str:
    """Return the page: its text with the table."""
    return (HERE / "augmentation.in.md").read_text(encoding="utf-8").replace("[TABLE]", table())


def table() -> str:
    """Return the table of all steps: how they are written, what they do, and their sources."""
    rows = ["| written | what it does | values | source |", "| --- | --- | --- | --- |"]
    for name, factory in AUGMENTATIONS.items():
        text = inspect.getdoc(factory) or ""
        summary = text.partition("\n")[0]
        source = re.split(r"\n\w+:\n", text.partition("References:\n")[2])[0]
        declared = hyperparameters(factory).values()
        values = [
            f"`{h.name}`: {h.help}" + ("" if h.required else f"; default {h.default_text}")
            for h in declared
        ]
        written = f"`{name}={':'.join(h.name for h in declared)}`"
        rows.append(f"| {written} | {summary} | {'. '.join(values)} | {' '.join(source.split())} |")
    return "\n".join(rows)


def draw(to: Path) -> None:
    """Draw the same images after each step, a row for each."""
    x, y = tl.data.load_dataset("fashion_mnist").train
    ids = np.arange(COLUMNS)
    data = ArrayAdapter("data", (x, y), COLUMNS)
    rows = {"original": x[ids]}
    for text in EXAMPLES.values():
        augmenter = Augmenter(tl.augmentation.parse_chain(text, (0, 255)))
        rows[text] = augmenter.examples(ids, data, 0, 0)[0].numpy()
    figure = Figure(figsize=(9, 0.62 * len(rows)), dpi=100)
    sheets = figure.subplots(len(rows), 1)
    for axes, (text, images) in zip(sheets, rows.items(), strict=True):
        gap = np.full((28, 2), 255, "uint8")
        axes.imshow(np.hstack([part for image in images for part in (image, gap)]), cmap="gray")
        axes.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_frame_on(False)
    figure.subplots_adjust(left=0.18, right=0.995, top=0.995, bottom=0.005, hspace=0.06)
    drawn = io.BytesIO()
    figure.savefig(drawn, metadata={"Software": None})
    Image.open(drawn).convert("L").save(to, optimize=True)


def main() -> None:
    """Write the page and the sheet."""
    matplotlib.use("agg")
    (HERE / "augmentation.md").write_text(page(), encoding="utf-8")
    draw(HERE / "augmentation.png")


if __name__ == "__main__":
    main()

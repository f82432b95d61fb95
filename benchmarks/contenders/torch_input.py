"""PyTorch: a loop over the batches of a `DataLoader`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from inputs import Feeding as Base
from PIL import Image
from workloads import ADAM, read_weights

from contenders.torch_nets import make_model

functional = torch.nn.functional
LOADERS = 2
"""Processes of a `DataLoader` that decode files."""


class Files(torch.utils.data.Dataset):  # type: ignore[misc]
    """Images in a folder for each class, decoded by Pillow as torchvision's `ImageFolder` does."""

    def __init__(self, folder: Path, mode: str) -> None:
        self.paths, self.mode = sorted(folder.glob("*/*")), mode

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path = self.paths[index]
        with Image.open(path) as image:
            pixels = np.array(image.convert(self.mode))
        return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)), int(path.parent.name)


class Feeding(Base):
    """A loop with the fused optimizer; batches are [n, height, width, channels]."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        of = self.workload
        self.model = make_model(of, read_weights(self.folder)).train()
        options: dict[str, Any] = {"lr": of.learning_rate, "eps": ADAM["epsilon"], "fused": True}
        options["betas"] = (ADAM["beta_1"], ADAM["beta_2"])
        self.optimizer = torch.optim.Adam(self.model.parameters(), **options)

    def from_memory(self) -> Iterable[Any]:
        return Shuffled(self.x, self.y, self.workload.batch_size)

    def from_mapped(self) -> Iterable[Any]:
        return Shuffled(self.mapped, self.y, self.workload.batch_size)

    def from_pipeline(self) -> Iterable[Any]:
        tensors = torch.utils.data.TensorDataset(torch.from_numpy(self.x), torch.from_numpy(self.y))
        return self._loader(tensors)

    def from_augmented(self) -> Iterable[Any]:
        return Augmented(self.from_memory())

    def from_decoded(self) -> Iterable[Any]:
        mode = "L" if self.workload.input_shape[-1] == 1 else "RGB"
        return self._loader(Files(self.folder / "images", mode), num_workers=LOADERS)

    def _loader(self, dataset: Any, **options: Any) -> Iterable[Any]:
        loader: Iterable[Any] = torch.utils.data.DataLoader(
            dataset, batch_size=self.workload.batch_size, shuffle=True, **options
        )
        return loader

    def train(self, data: Iterable[Any]) -> None:
        total = torch.zeros(())
        for x, y in data:
            self.optimizer.zero_grad()
            scaled = x.permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1
            loss = functional.cross_entropy(self.model(scaled), y.long())
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        float(total)

    def read(self, data: Iterable[Any]) -> None:
        for _ in data:
            pass


class Shuffled:
    """Batches of arrays in a random order."""

    def __init__(self, x: np.ndarray, y: np.ndarray, size: int) -> None:
        self.x, self.y, self.size = x, torch.from_numpy(y), size

    def __iter__(self) -> Any:
        for rows in torch.randperm(len(self.y)).split(self.size):
            yield torch.from_numpy(np.take(self.x, rows.numpy(), axis=0)), self.y[rows]


class Augmented:
    """Batches whose images are changed as `CHAIN` does, all of a batch at once."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Any:
        for x, y in self.batches:
            images = x.permute(0, 3, 1, 2).float()
            yield _changed(images).clamp(0, 255).permute(0, 2, 3, 1), y


def _changed(images: Any) -> Any:
    """Return images [n, channels, height, width] with other contrasts and an affine map each."""
    n = len(images)
    angle = (torch.rand(n) * 2 - 1) * (0.2 * math.pi)
    zoom, contrast = (0.9 + 0.2 * torch.rand(n) for _ in range(2))
    sign = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    zero = torch.zeros(n)
    rows = [
        torch.stack([sign * zoom * angle.cos(), -zoom * angle.sin(), zero], 1),
        torch.stack([sign * zoom * angle.sin(), zoom * angle.cos(), zero], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    turned = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    mean = turned.mean((2, 3), keepdim=True)
    return mean + contrast[:, None, None, None] * (turned - mean)

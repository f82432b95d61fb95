"""trainlib: `Trainer.fit` on images that come in several ways."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf
from inputs import CHAIN
from inputs import Feeding as Base
from workloads import ADAM, SEED, read_weights

import trainlib as tl
from contenders.keras_input import make_pipeline, make_scaled
from trainlib.core.types import Tree
from trainlib.data.image_files import ImageFiles
from trainlib.training.data_adapter import as_data_adapter
from trainlib.training.kept_rows import KeptRows
from trainlib.training.order import epoch_order


class Data(NamedTuple):
    """What `fit` takes.

    Attributes:
        trainer: the trainer.
        given: arrays or a pipeline.
        options: of `fit`.
    """

    trainer: tl.Trainer
    given: Any
    options: dict[str, Any]


class Feeding(Base):
    """`Trainer.fit`, an epoch a call."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.trainer = self._trainer()
        paths = sorted((self.folder / "images").glob("*/*"), key=lambda path: path.name)
        channels = self.workload.input_shape[-1]
        self.files = ImageFiles([str(path) for path in paths], self.height_and_width, channels)

    def _trainer(self, **options: Any) -> tl.Trainer:
        of = self.workload
        model = make_scaled(of, read_weights(self.folder))
        loss = tl.losses.sparse_categorical_crossentropy
        optimizer = tl.adam(of.learning_rate, **ADAM)
        options |= {"execution": "graph", "seed": SEED}
        return tl.Trainer(model, lambda y, z: loss(y, z, from_logits=True), optimizer, **options)

    def _arrays(self, x: Tree, trainer: tl.Trainer | None = None) -> Data:
        return Data(trainer or self.trainer, (x, self.y), {"batch_size": self.workload.batch_size})

    def from_memory(self) -> Data:
        return self._arrays(self.x)

    def from_mapped(self) -> Data:
        return self._arrays(self.mapped)

    def from_pipeline(self) -> Data:
        return Data(self.trainer, make_pipeline(self.x, self.y, self.workload.batch_size), {})

    def from_augmented(self) -> Data:
        return self._arrays(self.x, self._trainer(augment=tl.augmentation.parse_chain(CHAIN)))

    def from_kept(self) -> Data:
        return self._arrays(KeptRows(self.files, self.folder))

    def from_decoded(self) -> Data:
        return self._arrays(self.files)

    def train(self, data: Data) -> None:
        data.trainer.fit(data.given, verbose=0, **data.options)

    def read(self, data: Data) -> None:
        adapter = as_data_adapter("data", data.given, data.options.get("batch_size"))
        order = [epoch_order(SEED, 0, len(self.y))] if data.options else []
        for chunk in data.trainer.context.augmented(adapter.training(*order), adapter, 0):
            tf.nest.flatten(chunk.examples)[0].numpy()

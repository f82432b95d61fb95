"""Models of PyTorch predict the same as ours with their parameters."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import trainlib as tl
from trainlib.interop import load_parameters

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn


class Cnn(nn.Module):
    """Two blocks of a convolution, batch normalization and pooling, and two dense layers."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(4, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        )
        self.classifier = nn.Sequential(
            *(nn.Flatten(), nn.Linear(8 * 2 * 3, 16), nn.ReLU(), nn.Dropout(0.1)),
            nn.Linear(16, 5),
        )

    def forward(self, x):
        return self.classifier(self.features(x))


class Block(nn.Module):
    """A basic block, whose shortcut is a convolution or takes every second pixel."""

    def __init__(self, inputs, filters, stride, projection):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, filters, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.added = filters - inputs
        if self.added and projection:
            convolution = nn.Conv2d(inputs, filters, 1, stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(filters))

    def forward(self, x):
        y = self.bn2(self.conv2(nn.functional.relu(self.bn1(self.conv1(x)))))
        if hasattr(self, "downsample"):
            x = self.downsample(x)
        elif self.added:
            x = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.added // 2, self.added // 2))
        return nn.functional.relu(x + y)


class ResNet(nn.Module):
    """A residual network of 14 layers for small images, with the usual names."""

    def __init__(self, projection):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.layer1 = nn.Sequential(Block(4, 4, 1, projection), Block(4, 4, 1, projection))
        self.layer2 = nn.Sequential(Block(4, 8, 2, projection), Block(8, 8, 1, projection))
        self.layer3 = nn.Sequential(Block(8, 16, 2, projection), Block(16, 16, 1, projection))
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = nn.functional.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean([2, 3]))


def mlp():
    layers = nn.Linear(14 * 18 * 3, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 5)
    return nn.Sequential(nn.Flatten(), *layers)


MODELS = {
    "mlp": (mlp, lambda: tl.models.mlp((14, 18, 3), 5, hidden=(20, 20))),
    "cnn": (
        Cnn,
        lambda: tl.models.cnn((14, 18, 3), 5, filters=4, depth=2, units=16, batch_norm=True),
    ),
    **{
        f"resnet_{shortcut}": (
            lambda shortcut=shortcut: ResNet(shortcut == "projection"),
            lambda shortcut=shortcut: tl.models.resnet(
                (14, 18, 3), 5, depth=14, filters=4, shortcut=shortcut, padding="symmetric"
            ),
        )
        for shortcut in ("identity", "projection")
    },
}


@pytest.fixture(scope="module", params=MODELS)
def trained(request):
    """A PyTorch model whose statistics differ from their initial values, and ours, untrained."""
    torch.manual_seed(0)
    make, ours = MODELS[request.param]
    model = make()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(16, 3, 14, 18) * 2 + 1)
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval(), ours


def assert_same_predictions(model, ours):
    x = np.random.default_rng(1).normal(size=(7, 14, 18, 3)).astype(np.float32)
    with torch.no_grad():
        expected = model(torch.tensor(x.transpose(0, 3, 1, 2))).numpy()
    np.testing.assert_allclose(ours(x, training=False), expected, atol=1e-5 * abs(expected).max())


def test_a_state_dict_gives_the_same_predictions(trained):
    model, make = trained
    ours = make()
    load_parameters(ours, model.state_dict())
    assert_same_predictions(model, ours)


@pytest.mark.parametrize("form", [".pt", "wrapped", ".safetensors"])
def test_a_file_of_pytorch_gives_the_same_predictions(form, trained, tmp_path):
    model, make = trained
    path = tmp_path / f"model{'.pth' if form == 'wrapped' else form}"
    content = model.state_dict()
    if form == ".safetensors":
        package = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
        package.save_file(content, path)
    elif form == "wrapped":
        torch.save({"epoch": 3, "state_dict": {f"module.{n}": x for n, x in content.items()}}, path)
    else:
        torch.save(content, path)
    ours = make()
    load_parameters(ours, path)
    assert_same_predictions(model, ours)


def test_a_file_that_holds_code_is_refused(tmp_path):
    torch.save(mlp(), tmp_path / "model.pt")
    with pytest.raises(ValueError, match="model.pt holds no plain tensors; write it by torch.save"):
        load_parameters(MODELS["mlp"][1](), tmp_path / "model.pt")


HEIGHT, WIDTH, CHANNELS = 3, 2, 4
SIZE = HEIGHT * WIDTH * CHANNELS
layers = keras.layers


def seeded(model):
    """The model of PyTorch with random parameters and statistics, in inference mode."""
    torch.manual_seed(0)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.data.uniform_(0.1, 1)
    return model.eval()


def assert_same_on_images(theirs, ours):
    x = np.random.default_rng(1).normal(size=(5, HEIGHT, WIDTH, CHANNELS)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.tensor(x.transpose(0, 3, 1, 2))).numpy()
    found = ours(x, training=False)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * abs(expected).max())


@pytest.mark.parametrize(
    ("flatten", "theirs", "ours"),
    [
        (layers.Flatten(), [nn.ReLU()], [layers.ReLU()]),
        (layers.Flatten(), [nn.LeakyReLU(0.1)], [layers.LeakyReLU(0.1)]),
        (layers.Flatten(), [], [layers.GaussianNoise(0.1), layers.Dropout(0.5)]),
        (layers.Flatten(), [nn.BatchNorm1d(SIZE)], [layers.BatchNormalization()]),
        (layers.Reshape([SIZE]), [nn.ELU()], [layers.ELU()]),
    ],
)
def test_layers_that_keep_the_order_may_follow_flattened_images(flatten, theirs, ours):
    theirs = seeded(nn.Sequential(nn.Flatten(), *theirs, nn.Linear(SIZE, 3)))
    ours = keras.Sequential(
        [keras.Input((HEIGHT, WIDTH, CHANNELS)), flatten, *ours, layers.Dense(3)]
    )
    load_parameters(ours, theirs.state_dict())
    assert_same_on_images(theirs, ours)


def test_two_dense_layers_may_take_the_same_flattened_images():
    x = keras.Input((HEIGHT, WIDTH, CHANNELS))
    flat = layers.Flatten()(x)
    added = layers.Add()([flat, layers.ReLU()(flat)])
    y = layers.Dense(3, name="left")(added) * layers.Dense(3, name="right")(flat)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(SIZE, 3), nn.Linear(SIZE, 3)

        def forward(self, x):
            flat = x.flatten(1)
            return self.left(flat + flat.relu()) * self.right(flat)

    theirs, ours = seeded(Net()), keras.Model(x, y)
    load_parameters(ours, theirs.state_dict())
    assert_same_on_images(theirs, ours)


class Own(keras.Model):
    """A model with its own call."""

    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(4, 3, strides=2, name="conv")
        self.norm = layers.BatchNormalization(name="norm")
        self.pooling = layers.GlobalAveragePooling2D()
        self.head = layers.Dense(5, name="head")

    def call(self, x, training=False):
        return self.head(self.pooling(self.norm(self.conv(x), training=training)))


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).mean([2, 3]))


def test_a_model_with_its_own_call_is_loaded():
    theirs, ours = seeded(Pooled()), Own()
    ours(np.zeros((1, 14, 18, 3)))
    load_parameters(ours, theirs.state_dict())
    assert_same_predictions(theirs, ours)

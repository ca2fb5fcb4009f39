"""Image models: torchvision's keys, initial weights and arguments."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest

import danlu
from danlu import nn
from danlu.vision import models
from danlu.vision.models import resnet, vgg


def fingerprint(module) -> str:
    """Of the names, order and shapes of the state."""
    shapes = [(name, tuple(value.shape)) for name, value in module.state_dict().items()]
    return hashlib.md5(repr(shapes).encode()).hexdigest()


def test_resnet_states_have_torchvisions_names_and_shapes():
    model = models.resnet50()
    assert fingerprint(model) == "ac3cbc881885daacc986d409538ec310"
    assert sum(parameter.numel() for parameter in model.parameters()) == 25_557_032


def test_resnet_begins_and_computes_as_torchvisions():
    danlu.manual_seed(0)
    model = models.resnet18(num_classes=4)
    assert fingerprint(model) == "91db5e29694979a6217a36fec01ca953"
    np.testing.assert_allclose(
        model.conv1.weight.flatten()[:3].tolist(), [0.04777981, 0.01838465, -0.02771041], rtol=1e-5
    )
    np.testing.assert_allclose(
        model.fc.weight.flatten()[:3].tolist(), [-0.0203155, 0.01867787, 0.03755622], rtol=1e-5
    )
    scores = model.eval()(danlu.ones(1, 3, 32, 32))
    expected = [[-0.2507134, 0.1019049, -0.0411806, 0.1167485]]
    np.testing.assert_allclose(scores.tolist(), expected, atol=1e-5)


def test_resnet_with_groups_dilation_and_zeros():
    danlu.manual_seed(0)
    model = models.ResNet(
        resnet.Bottleneck, [1, 1, 1, 1], 4, True, groups=2, width_per_group=32,
        replace_stride_with_dilation=[False, True, True],
    )  # fmt: skip
    assert fingerprint(model) == "6b3735457bb0719cf12f76bc4ff32501"
    scores = model.eval()(danlu.linspace(0, 1, 3 * 64 * 64).reshape(1, 3, 64, 64))
    expected = [[0.0132122, -0.0173231, -0.0166704, -0.0056589]]
    np.testing.assert_allclose(scores.tolist(), expected, atol=1e-5)


def test_resnet_trains():
    model = models.ResNet(resnet.BasicBlock, [1, 1, 1, 1], 2)
    model(danlu.rand(2, 3, 32, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.bn1.num_batches_tracked == 1


def test_resnet_with_another_normalisation():
    model = models.ResNet(
        resnet.BasicBlock, [1, 1, 1, 1], 2, norm_layer=lambda width: nn.GroupNorm(8, width)
    )
    assert "layer2.0.downsample.1.running_mean" not in model.state_dict()
    assert model(danlu.rand(2, 3, 32, 32)).shape == (2, 2)


def test_resnet_arguments_that_cannot_be():
    with pytest.raises(ValueError, match="only supports groups=1"):
        models.ResNet(resnet.BasicBlock, [1, 1, 1, 1], groups=2)
    with pytest.raises(ValueError, match="3-element tuple"):
        models.ResNet(resnet.BasicBlock, [1, 1, 1, 1], replace_stride_with_dilation=[True])
    with pytest.raises(NotImplementedError, match="Dilation > 1"):
        models.ResNet(
            resnet.BasicBlock, [1, 1, 1, 1], replace_stride_with_dilation=[True, False, False]
        )


@pytest.mark.parametrize(
    ("cfg", "batch_norm", "expected"),
    [
        ("A", False, "5b0899ae6d6f9df2e88fd646ee25443b"),
        ("B", True, "255e39d6e0262c5177c9cc26fbb8f7dd"),
        ("D", False, "35dd60598fe95bdc148bb8e9052ab6ec"),
        ("E", True, "9f3673b4c06909e755a0063d9652dd82"),
    ],
)
def test_vgg_features_have_torchvisions_names_and_shapes(cfg, batch_norm, expected):
    assert fingerprint(vgg.make_layers(vgg.cfgs[cfg], batch_norm)) == expected


@pytest.fixture
def small_linears(monkeypatch):
    """Linear layers of a hundredth of the width: VGG's and AlexNet's have half a gigabyte."""

    def thin(width):
        return width if width < 1000 else width // 100

    class Thin(nn.Linear):
        def __init__(self, inputs, outputs):
            super().__init__(thin(inputs), thin(outputs))
            self.asked = (inputs, outputs)

    import sys

    for name in ("vgg", "alexnet"):
        module = sys.modules[f"danlu.vision.models.{name}"]
        monkeypatch.setattr(module, "nn", SimpleNamespace(**{**vars(nn), "Linear": Thin}))


@pytest.mark.parametrize(("build", "inputs"), [(models.vgg11_bn, 25088), (models.alexnet, 9216)])
def test_the_heads_of_vgg_and_alexnet(small_linears, build, inputs):
    model = build(num_classes=3, dropout=0.25)
    linears = [layer for layer in model.classifier if isinstance(layer, nn.Linear)]
    assert [layer.asked for layer in linears] == [(inputs, 4096), (4096, 4096), (4096, 3)]
    dropouts = [layer for layer in model.classifier if isinstance(layer, nn.Dropout)]
    assert [layer.p for layer in dropouts] == [0.25, 0.25]
    names = [name for name, _ in model.named_parameters()][-6:]
    numbers = (0, 3, 6) if inputs == 25088 else (1, 4, 6)
    assert names == [f"classifier.{n}.{part}" for n in numbers for part in ("weight", "bias")]
    assert (linears[0].bias == 0).all().item() == (inputs == 25088)  # VGG draws weights of its own
    size = model.avgpool(model.features(danlu.zeros(1, 3, 64, 64))).shape
    assert size[1] * size[2] * size[3] == inputs


def test_alexnet_features(small_linears):
    shapes = [tuple(value.shape) for value in models.alexnet().features.state_dict().values()]
    assert shapes == [
        (64, 3, 11, 11), (64,), (192, 64, 5, 5), (192,), (384, 192, 3, 3), (384,),
        (256, 384, 3, 3), (256,), (256, 256, 3, 3), (256,),
    ]  # fmt: skip


def test_lenet_learns():
    danlu.manual_seed(0)
    model = models.LeNet(num_classes=2, in_channels=3)
    optimizer = danlu.optim.Adam(model.parameters(), lr=0.003)
    labels = danlu.arange(16) % 2
    images = danlu.rand(16, 3, 28, 28) - 0.5
    images[labels == 1, :, :14] += 1
    for _ in range(20):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model(images).argmax(1) == labels).all()


# ---------------------------------------------------------------- weights
@pytest.mark.parametrize(
    ("call", "file"),
    [
        (lambda: models.resnet18(weights="IMAGENET1K_V1"), "resnet18-f37072fd.pth"),
        (lambda: models.resnet50(weights="DEFAULT"), "resnet50-11ad3fa6.pth"),
        (
            lambda: models.resnet50(weights=models.ResNet50_Weights.IMAGENET1K_V1),
            "resnet50-0676ba61.pth",
        ),
        (lambda: models.vgg16(weights=models.VGG16_Weights.DEFAULT), "vgg16-397923af.pth"),
        (lambda: models.get_model("lenet", weights="DEFAULT"), "lenet.pth"),
    ],
)
def test_pretrained_weights_are_refused_with_the_way_to_load_a_file(call, file):
    with pytest.raises(ValueError) as caught:
        call()
    assert "no pretrained weights and downloads none" in str(caught.value)
    assert f"load_state_dict(torch.load('{file}'))" in str(caught.value)


def test_the_old_argument_pretrained():
    with pytest.warns(UserWarning, match="deprecated"):
        assert models.resnet18(pretrained=False, num_classes=3).fc.out_features == 3
    for call in (lambda: models.resnet18(pretrained=True), lambda: models.resnet18(True)):
        with (
            pytest.warns(UserWarning, match="pretrained"),
            pytest.raises(ValueError, match="resnet18-f37072fd"),
        ):
            call()
    with pytest.raises(TypeError, match="keyword arguments alone"):
        models.resnet18(None, 3)


def test_weights_tell_how_to_prepare_images():
    weights = models.ResNet50_Weights.DEFAULT
    assert weights is models.ResNet50_Weights.IMAGENET1K_V2
    assert weights.url == "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"
    prepared = weights.transforms()(danlu.ones(3, 300, 400))
    assert prepared.shape == (3, 224, 224)
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    np.testing.assert_allclose(prepared[:, 0, 0].tolist(), expected, rtol=1e-5)
    assert "resize_size=[232]" in repr(weights.transforms())


def test_models_by_name():
    assert "resnext50_32x4d" in models.list_models()
    with pytest.raises(ValueError, match="Unknown model resnet19: danlu has alexnet"):
        models.get_model("resnet19")
    for name in models.list_models():
        assert callable(getattr(models, name))


def test_a_state_dict_goes_through_a_file(tmp_path):
    model = models.LeNet()
    danlu.save(model.state_dict(), tmp_path / "lenet.pth")
    other = models.lenet()
    other.load_state_dict(danlu.load(tmp_path / "lenet.pth"))
    x = danlu.rand(1, 1, 28, 28)
    assert danlu.equal(model(x), other(x))

"""VGG."""

from __future__ import annotations

from danlu import nn
from danlu.vision.models._api import model, weights_of

VGG11_Weights = weights_of("VGG11_Weights", IMAGENET1K_V1="vgg11-8a719046.pth")
VGG11_BN_Weights = weights_of("VGG11_BN_Weights", IMAGENET1K_V1="vgg11_bn-6002323d.pth")
VGG13_Weights = weights_of("VGG13_Weights", IMAGENET1K_V1="vgg13-19584684.pth")
VGG13_BN_Weights = weights_of("VGG13_BN_Weights", IMAGENET1K_V1="vgg13_bn-abd245e5.pth")
VGG16_Weights = weights_of("VGG16_Weights", IMAGENET1K_V1="vgg16-397923af.pth")
VGG16_BN_Weights = weights_of("VGG16_BN_Weights", IMAGENET1K_V1="vgg16_bn-6c64b313.pth")
VGG19_Weights = weights_of("VGG19_Weights", IMAGENET1K_V1="vgg19-dcbb9e9d.pth")
VGG19_BN_Weights = weights_of("VGG19_BN_Weights", IMAGENET1K_V1="vgg19_bn-c79401a0.pth")

__all__ = [
    "VGG", "VGG11_BN_Weights", "VGG11_Weights", "VGG13_BN_Weights", "VGG13_Weights",
    "VGG16_BN_Weights", "VGG16_Weights", "VGG19_BN_Weights", "VGG19_Weights", "vgg11", "vgg11_bn",
    "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
]  # fmt: skip


class VGG(nn.Module):
    """Simonyan and Zisserman 2014, "Very deep convolutional networks for large-scale image
    recognition", arXiv:1409.1556.

    Args:
        features: the convolutions, whose result has 512 channels (`make_layers`).
        num_classes: the number of scores. Default: 1000.
        init_weights: whether to draw the weights as the paper's followers do. Default: True.
        dropout: the probability with which a hidden value is dropped. Default: 0.5.

    Shape:
        (N, 3, H, W) -> (N, num_classes), with H and W at least 32.
    """

    def __init__(
        self, features: nn.Module, num_classes: int = 1000, init_weights: bool = True,
        dropout: float = 0.5,
    ):  # fmt: skip
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(True),
            nn.Dropout(p=dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(True),
            nn.Dropout(p=dropout),
            nn.Linear(4096, num_classes),
        )
        if init_weights:
            self._draw_weights()

    def _draw_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.constant_(module.bias, 0)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.weight, 1)
                nn.init.constant_(module.bias, 0)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.constant_(module.bias, 0)

    def forward(self, x):
        x = self.avgpool(self.features(x))  # (N, 3, H, W) -> (N, 512, 7, 7)
        return self.classifier(x.flatten(1))


# The paper's configurations: output channels of the convolutions, "M" for a maximum pool.
cfgs: dict[str, list] = {
    "A": [64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"],
    "B": [64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"],
    "D": [
        64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M",
    ],
    "E": [
        64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M",
        512, 512, 512, 512, "M",
    ],
}  # fmt: skip


def make_layers(cfg: list, batch_norm: bool = False) -> nn.Sequential:
    """The convolutions of a configuration."""
    layers: list[nn.Module] = []
    channels = 3
    for entry in cfg:
        if entry == "M":
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
            continue
        layers.append(nn.Conv2d(channels, entry, kernel_size=3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(entry))
        layers.append(nn.ReLU(inplace=True))
        channels = entry
    return nn.Sequential(*layers)


@model(VGG11_Weights)
def vgg11(**kwargs) -> VGG:
    """`VGG` with 11 layers; the arguments are passed on."""
    return VGG(make_layers(cfgs["A"]), **kwargs)


@model(VGG11_BN_Weights)
def vgg11_bn(**kwargs) -> VGG:
    """`VGG` with 11 layers and batch normalisation; the arguments are passed on."""
    return VGG(make_layers(cfgs["A"], True), **kwargs)


@model(VGG13_Weights)
def vgg13(**kwargs) -> VGG:
    """`VGG` with 13 layers; the arguments are passed on."""
    return VGG(make_layers(cfgs["B"]), **kwargs)


@model(VGG13_BN_Weights)
def vgg13_bn(**kwargs) -> VGG:
    """`VGG` with 13 layers and batch normalisation; the arguments are passed on."""
    return VGG(make_layers(cfgs["B"], True), **kwargs)


@model(VGG16_Weights)
def vgg16(**kwargs) -> VGG:
    """`VGG` with 16 layers; the arguments are passed on."""
    return VGG(make_layers(cfgs["D"]), **kwargs)


@model(VGG16_BN_Weights)
def vgg16_bn(**kwargs) -> VGG:
    """`VGG` with 16 layers and batch normalisation; the arguments are passed on."""
    return VGG(make_layers(cfgs["D"], True), **kwargs)


@model(VGG19_Weights)
def vgg19(**kwargs) -> VGG:
    """`VGG` with 19 layers; the arguments are passed on."""
    return VGG(make_layers(cfgs["E"]), **kwargs)


@model(VGG19_BN_Weights)
def vgg19_bn(**kwargs) -> VGG:
    """`VGG` with 19 layers and batch normalisation; the arguments are passed on."""
    return VGG(make_layers(cfgs["E"], True), **kwargs)

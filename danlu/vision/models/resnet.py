"""ResNet, and the wider networks of the same plan."""

from __future__ import annotations

from collections.abc import Callable

from danlu import nn
from danlu.vision.models._api import model, weights_of

_V1, _V2 = "IMAGENET1K_V1", "IMAGENET1K_V2"
ResNet18_Weights = weights_of("ResNet18_Weights", **{_V1: "resnet18-f37072fd.pth"})
ResNet34_Weights = weights_of("ResNet34_Weights", **{_V1: "resnet34-b627a593.pth"})
ResNet50_Weights = weights_of(
    "ResNet50_Weights", **{_V1: "resnet50-0676ba61.pth", _V2: "resnet50-11ad3fa6.pth 232"}
)
ResNet101_Weights = weights_of(
    "ResNet101_Weights", **{_V1: "resnet101-63fe2227.pth", _V2: "resnet101-cd907fc2.pth 232"}
)
ResNet152_Weights = weights_of(
    "ResNet152_Weights", **{_V1: "resnet152-394f9c45.pth", _V2: "resnet152-f82ba261.pth 232"}
)
ResNeXt50_32X4D_Weights = weights_of(
    "ResNeXt50_32X4D_Weights",
    **{_V1: "resnext50_32x4d-7cdf4587.pth", _V2: "resnext50_32x4d-1a0047aa.pth 232"},
)
ResNeXt101_32X8D_Weights = weights_of(
    "ResNeXt101_32X8D_Weights",
    **{_V1: "resnext101_32x8d-8ba56ff5.pth", _V2: "resnext101_32x8d-110c445d.pth 232"},
)
ResNeXt101_64X4D_Weights = weights_of(
    "ResNeXt101_64X4D_Weights", **{_V1: "resnext101_64x4d-173b62eb.pth 232"}
)
Wide_ResNet50_2_Weights = weights_of(
    "Wide_ResNet50_2_Weights",
    **{_V1: "wide_resnet50_2-95faca4d.pth", _V2: "wide_resnet50_2-9ba9bcbe.pth 232"},
)
Wide_ResNet101_2_Weights = weights_of(
    "Wide_ResNet101_2_Weights",
    **{_V1: "wide_resnet101_2-32ee1156.pth", _V2: "wide_resnet101_2-d733dc28.pth 232"},
)

__all__ = [
    "ResNeXt101_32X8D_Weights", "ResNeXt101_64X4D_Weights", "ResNeXt50_32X4D_Weights", "ResNet",
    "ResNet101_Weights", "ResNet152_Weights", "ResNet18_Weights", "ResNet34_Weights",
    "ResNet50_Weights", "Wide_ResNet101_2_Weights", "Wide_ResNet50_2_Weights", "resnet101",
    "resnet152", "resnet18", "resnet34", "resnet50", "resnext101_32x8d", "resnext101_64x4d",
    "resnext50_32x4d", "wide_resnet101_2", "wide_resnet50_2",
]  # fmt: skip


def conv3x3(in_planes: int, out_planes: int, stride: int = 1, groups: int = 1, dilation: int = 1):
    """A 3 by 3 convolution that keeps the size, up to the stride."""
    return nn.Conv2d(
        in_planes, out_planes, kernel_size=3, stride=stride, padding=dilation, groups=groups,
        bias=False, dilation=dilation,
    )  # fmt: skip


def conv1x1(in_planes: int, out_planes: int, stride: int = 1):
    """A linear map of the channels."""
    return nn.Conv2d(in_planes, out_planes, kernel_size=1, stride=stride, bias=False)


class BasicBlock(nn.Module):
    """Two 3 by 3 convolutions beside a shortcut.

    Args:
        inplanes, planes: the channels of input and output.
        stride: of the first convolution. Default: 1.
        downsample: what makes the input fit the output. Default: the input fits.
        groups, base_width, dilation: 1, 64 and 1; for `Bottleneck` alone.
        norm_layer: the normalisation. Default: BatchNorm2d.

    Raises:
        ValueError: for groups or a base width.
        NotImplementedError: for a dilation.
    """

    expansion = 1

    def __init__(
        self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None,
        groups: int = 1, base_width: int = 64, dilation: int = 1,
        norm_layer: Callable[..., nn.Module] | None = None,
    ):  # fmt: skip
        super().__init__()
        norm_layer = norm_layer or nn.BatchNorm2d
        if groups != 1 or base_width != 64:
            raise ValueError(
                "BasicBlock only supports groups=1 and base_width=64, got "
                f"groups={groups} and base_width={base_width}: take Bottleneck"
            )
        if dilation > 1:
            raise NotImplementedError(
                f"Dilation > 1 not supported in BasicBlock, got {dilation}: take Bottleneck"
            )
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = norm_layer(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = norm_layer(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class Bottleneck(nn.Module):
    """A 3 by 3 convolution of few channels between two linear maps, beside a shortcut.

    The stride is that of the 3 by 3 convolution, where the paper has it in the first map: "ResNet
    V1.5", which is more accurate.

    Args:
        inplanes: the channels of the input; the output has four times `planes`.
        planes: the channels within, for groups of 1 and a base width of 64.
        stride, groups, dilation: of the 3 by 3 convolution. Default: 1.
        downsample: what makes the input fit the output. Default: the input fits.
        base_width: the channels within, as parts of 64 of `planes`. Default: 64.
        norm_layer: the normalisation. Default: BatchNorm2d.
    """

    expansion = 4

    def __init__(
        self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None,
        groups: int = 1, base_width: int = 64, dilation: int = 1,
        norm_layer: Callable[..., nn.Module] | None = None,
    ):  # fmt: skip
        super().__init__()
        norm_layer = norm_layer or nn.BatchNorm2d
        width = int(planes * (base_width / 64.0)) * groups
        self.conv1 = conv1x1(inplanes, width)
        self.bn1 = norm_layer(width)
        self.conv2 = conv3x3(width, width, stride, groups, dilation)
        self.bn2 = norm_layer(width)
        self.conv3 = conv1x1(width, planes * self.expansion)
        self.bn3 = norm_layer(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class ResNet(nn.Module):
    """He et al. 2015, "Deep residual learning for image recognition", arXiv:1512.03385.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        layers: the number of blocks of each of the four stages.
        num_classes: the number of scores. Default: 1000.
        zero_init_residual: whether every block begins as its shortcut (Goyal et al. 2017,
            arXiv:1706.02677). Default: False.
        groups, width_per_group: of the blocks' 3 by 3 convolutions; others than 1 and 64 make a
            ResNeXt (arXiv:1611.05431) or a wide ResNet (arXiv:1605.07146).
        replace_stride_with_dilation: for the last three stages, whether to keep the size and
            dilate. Default: none.
        norm_layer: the normalisation. Default: BatchNorm2d.

    Shape:
        (N, 3, H, W) -> (N, num_classes)

    Raises:
        ValueError: `replace_stride_with_dilation` has not three elements.

    Example:
        >>> import danlu as torch
        >>> from danlu.vision.models.resnet import BasicBlock, ResNet
        >>> ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self, block: type[BasicBlock | Bottleneck], layers: list[int], num_classes: int = 1000,
        zero_init_residual: bool = False, groups: int = 1, width_per_group: int = 64,
        replace_stride_with_dilation: list[bool] | None = None,
        norm_layer: Callable[..., nn.Module] | None = None,
    ):  # fmt: skip
        super().__init__()
        dilate = replace_stride_with_dilation or [False, False, False]
        if len(dilate) != 3:
            raise ValueError(
                "replace_stride_with_dilation should be None or a 3-element tuple, got "
                f"{replace_stride_with_dilation}"
            )
        self._norm_layer = norm_layer or nn.BatchNorm2d
        self.inplanes = 64
        self.dilation = 1
        self.groups = groups
        self.base_width = width_per_group
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = self._norm_layer(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._make_layer(block, 64, layers[0])
        self.layer2 = self._make_layer(block, 128, layers[1], 2, dilate[0])
        self.layer3 = self._make_layer(block, 256, layers[2], 2, dilate[1])
        self.layer4 = self._make_layer(block, 512, layers[3], 2, dilate[2])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        self._draw_weights(zero_init_residual)

    def _draw_weights(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
                nn.init.constant_(module.weight, 1)
                nn.init.constant_(module.bias, 0)
        if zero_init_residual:
            for module in self.modules():
                last = {Bottleneck: "bn3", BasicBlock: "bn2"}.get(type(module))
                if last is not None and getattr(module, last).weight is not None:
                    nn.init.constant_(getattr(module, last).weight, 0)

    def _make_layer(
        self, block: type[BasicBlock | Bottleneck], planes: int, blocks: int, stride: int = 1,
        dilate: bool = False,
    ) -> nn.Sequential:  # fmt: skip
        before = self.dilation
        if dilate:
            self.dilation *= stride
            stride = 1
        downsample = None
        width = planes * block.expansion
        if stride != 1 or self.inplanes != width:
            downsample = nn.Sequential(
                conv1x1(self.inplanes, width, stride), self._norm_layer(width)
            )
        shared = (self.groups, self.base_width)
        stage = [
            block(self.inplanes, planes, stride, downsample, *shared, before, self._norm_layer)
        ]
        self.inplanes = width
        stage += [
            block(width, planes, 1, None, *shared, self.dilation, self._norm_layer)
            for _ in range(1, blocks)
        ]
        return nn.Sequential(*stage)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (N, 3, H, W) -> (N, 64, H/4, W/4)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # -> (N, C, H/32, W/32)
        return self.fc(self.avgpool(x).flatten(1))


@model(ResNet18_Weights)
def resnet18(**kwargs) -> ResNet:
    """`ResNet` with 18 layers; the arguments are passed on."""
    return ResNet(BasicBlock, [2, 2, 2, 2], **kwargs)


@model(ResNet34_Weights)
def resnet34(**kwargs) -> ResNet:
    """`ResNet` with 34 layers; the arguments are passed on."""
    return ResNet(BasicBlock, [3, 4, 6, 3], **kwargs)


@model(ResNet50_Weights)
def resnet50(**kwargs) -> ResNet:
    """`ResNet` with 50 layers; the arguments are passed on."""
    return ResNet(Bottleneck, [3, 4, 6, 3], **kwargs)


@model(ResNet101_Weights)
def resnet101(**kwargs) -> ResNet:
    """`ResNet` with 101 layers; the arguments are passed on."""
    return ResNet(Bottleneck, [3, 4, 23, 3], **kwargs)


@model(ResNet152_Weights)
def resnet152(**kwargs) -> ResNet:
    """`ResNet` with 152 layers; the arguments are passed on."""
    return ResNet(Bottleneck, [3, 8, 36, 3], **kwargs)


@model(ResNeXt50_32X4D_Weights)
def resnext50_32x4d(**kwargs) -> ResNet:
    """ResNeXt with 50 layers and 32 groups of 4; the arguments are passed on to `ResNet`."""
    return ResNet(Bottleneck, [3, 4, 6, 3], **{"groups": 32, "width_per_group": 4, **kwargs})


@model(ResNeXt101_32X8D_Weights)
def resnext101_32x8d(**kwargs) -> ResNet:
    """ResNeXt with 101 layers and 32 groups of 8; the arguments are passed on to `ResNet`."""
    return ResNet(Bottleneck, [3, 4, 23, 3], **{"groups": 32, "width_per_group": 8, **kwargs})


@model(ResNeXt101_64X4D_Weights)
def resnext101_64x4d(**kwargs) -> ResNet:
    """ResNeXt with 101 layers and 64 groups of 4; the arguments are passed on to `ResNet`."""
    return ResNet(Bottleneck, [3, 4, 23, 3], **{"groups": 64, "width_per_group": 4, **kwargs})


@model(Wide_ResNet50_2_Weights)
def wide_resnet50_2(**kwargs) -> ResNet:
    """ResNet with 50 layers, twice as wide within; the arguments are passed on to `ResNet`."""
    return ResNet(Bottleneck, [3, 4, 6, 3], **{"width_per_group": 128, **kwargs})


@model(Wide_ResNet101_2_Weights)
def wide_resnet101_2(**kwargs) -> ResNet:
    """ResNet with 101 layers, twice as wide within; the arguments are passed on to `ResNet`."""
    return ResNet(Bottleneck, [3, 4, 23, 3], **{"width_per_group": 128, **kwargs})

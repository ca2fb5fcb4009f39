"""LeNet-5."""

from __future__ import annotations

from danlu import nn
from danlu.vision.models._api import model

__all__ = ["LeNet", "lenet"]


class LeNet(nn.Module):
    """The network that read digits on cheques.

    LeCun et al. 1998, "Gradient-based learning applied to document recognition"; with all
    connections in the second convolution and a linear last layer.

    Args:
        num_classes: the number of scores. Default: 10.
        in_channels: 1 for gray images (default), 3 for RGB.

    Shape:
        (N, in_channels, 28, 28) -> (N, num_classes)

    Example:
        >>> import danlu as torch
        >>> torch.vision.models.LeNet()(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, kernel_size=5, padding=2),  # (28, 28)
            nn.Tanh(),
            nn.AvgPool2d(2),  # (14, 14)
            nn.Conv2d(6, 16, kernel_size=5),  # (10, 10)
            nn.Tanh(),
            nn.AvgPool2d(2),  # (5, 5)
        )
        self.classifier = nn.Sequential(
            nn.Linear(16 * 5 * 5, 120),
            nn.Tanh(),
            nn.Linear(120, 84),
            nn.Tanh(),
            nn.Linear(84, num_classes),
        )

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


@model()
def lenet(**kwargs) -> LeNet:
    """`LeNet`; the arguments are passed on."""
    return LeNet(**kwargs)

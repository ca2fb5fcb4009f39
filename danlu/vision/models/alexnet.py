"""AlexNet."""

from __future__ import annotations

from danlu import nn
from danlu.vision.models._api import model, weights_of

__all__ = ["AlexNet", "AlexNet_Weights", "alexnet"]

AlexNet_Weights = weights_of("AlexNet_Weights", IMAGENET1K_V1="alexnet-owt-7be5be79.pth")


class AlexNet(nn.Module):
    """Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks",
    arXiv:1404.5997.

    Args:
        num_classes: the number of scores. Default: 1000.
        dropout: the probability with which a hidden value is dropped. Default: 0.5.

    Shape:
        (N, 3, H, W) -> (N, num_classes), with H and W at least 63.
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(p=dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x):
        x = self.avgpool(self.features(x))  # (N, 3, H, W) -> (N, 256, 6, 6)
        return self.classifier(x.flatten(1))


@model(AlexNet_Weights)
def alexnet(**kwargs) -> AlexNet:
    """`AlexNet`; the arguments are passed on."""
    return AlexNet(**kwargs)

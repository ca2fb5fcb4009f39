"""Convolutional networks for images, with torchvision's constructors and state-dict keys."""

from danlu.vision.models import alexnet as _alexnet_module
from danlu.vision.models._api import WeightsEnum, get_model, list_models
from danlu.vision.models.lenet import LeNet, lenet
from danlu.vision.models.resnet import *  # noqa: F403
from danlu.vision.models.resnet import __all__ as _resnets
from danlu.vision.models.vgg import *  # noqa: F403
from danlu.vision.models.vgg import __all__ as _vggs

# The functions take the place of the modules of the same names, as in torchvision.
AlexNet, AlexNet_Weights = _alexnet_module.AlexNet, _alexnet_module.AlexNet_Weights
alexnet = _alexnet_module.alexnet

__all__ = [
    "AlexNet", "AlexNet_Weights", "LeNet", "WeightsEnum", "alexnet", "get_model", "lenet",
    "list_models", *_resnets, *_vggs,
]  # fmt: skip

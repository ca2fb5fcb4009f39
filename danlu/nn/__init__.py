"""`torch.nn`: modules, layers, losses, their functions and their initial values."""

from __future__ import annotations

from danlu.nn import functional as functional
from danlu.nn import init as init
from danlu.nn import modules as modules
from danlu.nn import parallel as parallel
from danlu.nn import utils as utils
from danlu.nn.modules import *  # noqa: F403
from danlu.nn.parallel import DataParallel as DataParallel
from danlu.nn.parameter import Buffer as Buffer
from danlu.nn.parameter import Parameter as Parameter
from danlu.nn.parameter import UninitializedBuffer as UninitializedBuffer
from danlu.nn.parameter import UninitializedParameter as UninitializedParameter

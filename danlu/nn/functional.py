"""`torch.nn.functional`: layers, activations and losses as functions."""

from __future__ import annotations

from danlu.nn._functional.activation import *  # noqa: F403
from danlu.nn._functional.attention import *  # noqa: F403
from danlu.nn._functional.ctc import *  # noqa: F403
from danlu.nn._functional.distance import *  # noqa: F403
from danlu.nn._functional.dropout import *  # noqa: F403
from danlu.nn._functional.likelihood import *  # noqa: F403
from danlu.nn._functional.linear_cross_entropy import *  # noqa: F403
from danlu.nn._functional.loss import *  # noqa: F403
from danlu.nn._functional.normalization import *  # noqa: F403
from danlu.nn._functional.ranking import *  # noqa: F403
from danlu.nn._functional.softmax import *  # noqa: F403
from danlu.nn._functional.sparse import *  # noqa: F403
from danlu.ops.adaptive_pooling import *  # noqa: F403
from danlu.ops.average_pooling import *  # noqa: F403
from danlu.ops.blocks import fold as fold
from danlu.ops.blocks import unfold_blocks as unfold  # noqa: F401
from danlu.ops.convolution import *  # noqa: F403
from danlu.ops.grid_sampling import *  # noqa: F403
from danlu.ops.linear import bilinear as bilinear
from danlu.ops.linear import linear as linear
from danlu.ops.padding import constant_pad_nd as constant_pad_nd
from danlu.ops.padding import pad as pad
from danlu.ops.pooling import *  # noqa: F403
from danlu.ops.recurrent import *  # noqa: F403
from danlu.ops.resampling import *  # noqa: F403

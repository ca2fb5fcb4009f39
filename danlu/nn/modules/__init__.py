"""The layers and losses of `danlu.nn`, a file per family."""

from __future__ import annotations

from danlu.nn.modules.activation import *  # noqa: F403
from danlu.nn.modules.adaptive import *  # noqa: F403
from danlu.nn.modules.adaptive_pooling import *  # noqa: F403
from danlu.nn.modules.attention import *  # noqa: F403
from danlu.nn.modules.batchnorm import *  # noqa: F403
from danlu.nn.modules.container import *  # noqa: F403
from danlu.nn.modules.conv import *  # noqa: F403
from danlu.nn.modules.distance import *  # noqa: F403
from danlu.nn.modules.dropout import *  # noqa: F403
from danlu.nn.modules.flatten import *  # noqa: F403
from danlu.nn.modules.fold import *  # noqa: F403
from danlu.nn.modules.instancenorm import *  # noqa: F403
from danlu.nn.modules.linear import *  # noqa: F403
from danlu.nn.modules.linear_cross_entropy import *  # noqa: F403
from danlu.nn.modules.loss import *  # noqa: F403
from danlu.nn.modules.module import Module as Module
from danlu.nn.modules.normalization import *  # noqa: F403
from danlu.nn.modules.padding import *  # noqa: F403
from danlu.nn.modules.pixelshuffle import *  # noqa: F403
from danlu.nn.modules.pooling import *  # noqa: F403
from danlu.nn.modules.ranking_loss import *  # noqa: F403
from danlu.nn.modules.rnn import *  # noqa: F403
from danlu.nn.modules.rnn_cell import *  # noqa: F403
from danlu.nn.modules.smooth_activation import *  # noqa: F403
from danlu.nn.modules.sparse import *  # noqa: F403
from danlu.nn.modules.sync_batchnorm import *  # noqa: F403
from danlu.nn.modules.transformer import *  # noqa: F403
from danlu.nn.modules.transformer_layers import *  # noqa: F403
from danlu.nn.modules.upsampling import *  # noqa: F403

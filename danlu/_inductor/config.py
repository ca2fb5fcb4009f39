"""Settings of PyTorch's compiler, which are kept and change nothing."""

from __future__ import annotations

from danlu._dynamo.settings import keeps_settings

keeps_settings(__name__)

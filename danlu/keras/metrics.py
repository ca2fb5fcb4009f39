"""The names of `danlu.metrics`, where programs for torchkeras look for them."""

from danlu.metrics import *  # noqa: F403
from danlu.metrics import __all__  # noqa: F401

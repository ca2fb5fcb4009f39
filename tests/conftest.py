"""What all tests share."""

from __future__ import annotations

import os

# Before NumPy or PyTorch is loaded, here and in the processes that pytest-xdist starts: each would
# otherwise use all cores, and the processes would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

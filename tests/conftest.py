"""What all tests share."""

from __future__ import annotations

import os
import signal

# Before NumPy or PyTorch is loaded, here and in the processes that pytest-xdist starts: each would
# otherwise use all cores, and the processes would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

# A shell starts background jobs with Ctrl-C ignored, and every child inherits that: the tests of
# interruption need it back.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

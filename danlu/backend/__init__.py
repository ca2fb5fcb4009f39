"""Storey 1, hardware: dtypes, devices, random streams, threads."""

import warnings

from danlu.backend import threads

# Overflow and division by zero are results (inf, nan), not warnings, as in PyTorch. NumPy's own
# users keep their warnings: the filter covers danlu's modules alone.
warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"danlu\.")

threads.apply_cpu_limit()

"""Hot functions as kernels: NumPy code that runs as it stands or as fused machine code."""

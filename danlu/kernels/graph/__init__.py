"""From NumPy code to fused loops: tracing, simplification, fusion, buffers, machine code."""

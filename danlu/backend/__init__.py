"""Storey 1, hardware: dtypes, devices, random streams, threads."""

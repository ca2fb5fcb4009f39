"""Storey 3: every operator, one definition each, a file per family."""

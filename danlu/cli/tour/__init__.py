"""`danlu tour`: nine small models, trained on real data, with a picture of each."""

from __future__ import annotations

from danlu.cli.tour.command import main

__all__ = ["main"]

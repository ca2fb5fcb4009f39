"""`danlu tour`."""

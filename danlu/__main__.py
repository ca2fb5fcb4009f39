"""`python -m danlu` is the command `danlu`."""

from __future__ import annotations

import sys

from danlu.cli import main

if __name__ == "__main__":
    sys.exit(main())

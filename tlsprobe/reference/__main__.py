"""``python -m tlsprobe.reference [NAME...]``: serve until standard input ends.

Without names: those of ``tlsprobe demo``.
"""

import signal
import sys

import trio

from tlsprobe.reference.behaviours import BEHAVIOURS, DEMO
from tlsprobe.reference.server import serve

if __name__ == "__main__":
    names = tuple(sys.argv[1:]) or DEMO
    if unknown := [name for name in names if name not in BEHAVIOURS]:
        known = ", ".join(sorted(BEHAVIOURS))
        sys.exit(f"error: no built-in server is called '{unknown[0]}'\nhint: there are {known}")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to act on
    trio.run(serve, names)

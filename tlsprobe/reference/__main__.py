"""``python -m tlsprobe.reference [NAME...]``: serve until standard input ends.

Without names: those of ``tlsprobe demo``.
"""

import signal
import sys

import trio

from tlsprobe.reference.behaviours import DEMO
from tlsprobe.reference.server import serve

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to act on
    trio.run(serve, tuple(sys.argv[1:]) or DEMO)

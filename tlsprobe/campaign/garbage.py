"""How often Python looks for garbage in a process that measures."""

COLLECT_EVERY = 10_000
"""New objects between two runs of Python's garbage collector, which by default are 700.

A trial makes and drops thousands of objects and hardly a cycle: looking for those costs a twentieth
of a run.
"""

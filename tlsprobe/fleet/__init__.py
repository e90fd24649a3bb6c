"""Many targets from one machine: who they are, how many at once, and a ledger of what came of each.

- `targets`: lists of targets as people keep them.
- `ledger`: every attempt is written down before its first connection, every answer when it is here.
- `guard`: how many targets may be probed at once without one verdict suffering from it.
- `coordinator`: hands targets to processes, a host to one of them at a time.
- `worker`: such a process, in which many targets share one sniffer and one event loop.
"""

"""Many targets from one machine: who they are, how many at once, and a ledger of what came of each.

- `targets`: lists of targets as people keep them.
- `ledger`: every attempt is written down before its first connection, every answer when it is here.
- `guard`: how many targets may be probed at once without one verdict suffering from it.
- `coordinator`: hands targets to an engine, a host at a time.
- `engine`: what an engine is; `embedded`: the processes of this machine, `dask_engine`: workers of
  Dask elsewhere, and `dask_task` what one of them does.
- `worker`: a process in which many targets share one sniffer and one event loop.
"""

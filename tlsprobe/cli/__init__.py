"""The command line: one file a verb, and the only place that prints or exits.

Nothing is imported here: Ctrl-C may come while the rest is.
"""

INTERRUPTED = 130
"""Exit code of a run that Ctrl-C ended (128 + SIGINT)."""


def main() -> None:
    """Entry point of the ``tlsprobe`` command."""
    try:
        from tlsprobe.cli.application import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None

"""``python -m tlsprobe``."""

from tlsprobe.cli import main

if __name__ == "__main__":
    main()

"""tlsprobe: how does this server end a TLS connection, and whom does it hurt?"""

from tlsprobe.version import VERSION

__version__ = VERSION

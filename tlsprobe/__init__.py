"""tlsprobe: how does this server end a TLS connection, and whom does it hurt?"""

__version__ = "0.1.0"

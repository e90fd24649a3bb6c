"""The bytes of a frame become a packet: link types, tunnels, IPv4 and IPv6, fragments, TCP."""

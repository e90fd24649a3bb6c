"""The sniffer process and its parent side: frames off the wire while we drive."""

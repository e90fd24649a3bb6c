"""Packets become connections: offsets, holes, reused ports."""

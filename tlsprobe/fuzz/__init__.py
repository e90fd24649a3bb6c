"""Finds the closes that nobody thought of: generated, judged, shrunk to the shortest."""

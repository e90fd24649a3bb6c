"""A shaper in the path of our own connections: closes that no kernel socket makes."""

"""The wire: frames in, segments out; capture files; the sniffer and its process."""

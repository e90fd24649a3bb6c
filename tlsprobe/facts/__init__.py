"""Facts on disk: ``facts.jsonl.gz``, written while trials end and read by whoever judges them.

The file is a gzip stream of JSON lines: a header, then one line a fact (``zcat | jq`` shows them).
After every fact the stream is flushed (zlib's Z_SYNC_FLUSH), so that a process killed at any moment
leaves a file that is whole up to its last fact; what was being written then is lost, and nothing
else. A run that is gone on with writes into a gzip member of its own behind the first.
"""

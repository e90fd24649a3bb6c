"""The built-in servers, each with one known way to end a connection.

They are the tester's own test: what tlsprobe says of them can be checked against what they are
known to do, on any machine, with nothing installed.
"""

"""server.py HOST PORT CERT KEY IDLE."""

import sys

from cheroot import wsgi
from cheroot.ssl.builtin import BuiltinSSLAdapter

host, port, cert, key, idle = sys.argv[1:]


def _app(environ, start_response):
    body = b"x" * (1 << 20) if environ["PATH_INFO"] == "/large" else b"hello from Cheroot\n"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


server = wsgi.Server((host, int(port)), _app, timeout=int(idle), numthreads=20)
server.ssl_adapter = BuiltinSSLAdapter(cert, key)
server.start()

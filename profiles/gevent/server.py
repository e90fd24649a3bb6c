"""server.py HOST PORT CERT KEY."""

import sys

from gevent import pywsgi

host, port, cert, key = sys.argv[1:]


def _app(environ, start_response):
    body = b"x" * (1 << 20) if environ["PATH_INFO"] == "/large" else b"hello from gevent\n"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


pywsgi.WSGIServer((host, int(port)), _app, log=None, certfile=cert, keyfile=key).serve_forever()

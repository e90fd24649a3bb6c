"""server.py HOST PORT CERT KEY IDLE."""

import asyncio
import ssl
import sys

from tornado import httpserver, web

host, port, cert, key, idle = sys.argv[1:]
tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
tls.load_cert_chain(cert, key)


class _Answer(web.RequestHandler):
    def get(self):
        self.write("x" * (1 << 20) if self.request.path == "/large" else "hello from Tornado\n")


async def _main():
    app = web.Application([(".*", _Answer)])
    server = httpserver.HTTPServer(app, ssl_options=tls, idle_connection_timeout=float(idle))
    server.listen(int(port), host)
    await asyncio.Event().wait()


asyncio.run(_main())

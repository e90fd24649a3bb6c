"""server.py HOST PORT CERT KEY IDLE."""

import ssl
import sys

from aiohttp import web

host, port, cert, key, idle = sys.argv[1:]
tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
tls.load_cert_chain(cert, key)


async def _small(request):
    return web.Response(text="hello from aiohttp\n")


async def _large(request):
    return web.Response(body=b"x" * (1 << 20))


app = web.Application()
app.add_routes([web.get("/", _small), web.get("/large", _large)])
web.run_app(
    app, host=host, port=int(port), ssl_context=tls, keepalive_timeout=float(idle), print=None
)

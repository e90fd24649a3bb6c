"""An ASGI application: something small at /, a mebibyte at /large."""

SMALL = b"hello from Python\n"
LARGE = b"x" * (1 << 20)


async def app(scope, receive, send):
    """Answer one request, or follow the server's start and stop."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    body = LARGE if scope["path"] == "/large" else SMALL
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive, send):
    event = None
    while event != "lifespan.shutdown":
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})

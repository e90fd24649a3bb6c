"""A WSGI application: something small at /, a mebibyte at /large."""

SMALL = b"hello from Python\n"
LARGE = b"x" * (1 << 20)


def app(environ, start_response):
    """Answer one request."""
    body = LARGE if environ["PATH_INFO"] == "/large" else SMALL
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]

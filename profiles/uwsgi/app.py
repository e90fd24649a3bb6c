"""What uwsgi serves."""

LARGE = b"x" * (1 << 20)


def application(environ, start_response):
    """Answer a small page, or a large one at /large."""
    body = LARGE if environ["PATH_INFO"] == "/large" else b"hello from uWSGI\n"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]

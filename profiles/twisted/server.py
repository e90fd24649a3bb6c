"""server.py HOST PORT CERT KEY IDLE."""

import sys

from twisted.internet import endpoints, reactor
from twisted.web import resource, server

host, port, cert, key, idle = sys.argv[1:]


class _Root(resource.Resource):
    isLeaf = True  # noqa: N815 - the name is Twisted's

    def render_GET(self, request):  # noqa: N802
        return b"x" * (1 << 20) if request.path == b"/large" else b"hello from Twisted\n"


site = server.Site(_Root(), timeout=int(idle))
where = f"ssl:{port}:interface={host}:privateKey={key}:certKey={cert}"
endpoints.serverFromString(reactor, where).listen(site)
reactor.run()

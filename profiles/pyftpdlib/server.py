"""server.py HOST PORT BUNDLE IDLE FOLDER."""

import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import TLS_FTPHandler
from pyftpdlib.servers import FTPServer

host, port, bundle, idle, folder = sys.argv[1:]

authorizer = DummyAuthorizer()
authorizer.add_anonymous(folder, perm="elradfmw")


class _Handler(TLS_FTPHandler):
    authorizer = authorizer
    certfile = bundle
    timeout = int(idle)


FTPServer((host, int(port)), _Handler).serve_forever()

"""pool.py HOST PORT PAUSE USE: what a pool of psycopg's does with one connection.

One query; where PAUSE (seconds) is not 0, another after it, on what the pool then gives.
"""

import sys
import time

from psycopg import OperationalError
from psycopg_pool import ConnectionPool

USES = {
    "default": {},
    "max-idle": {"min_size": 0, "max_idle": 1.0},
    "check": {"check": ConnectionPool.check_connection},
}
host, port, pause, use = sys.argv[1:]
conninfo = f"host={host} port={port} user=postgres dbname=postgres sslmode=require"
settings = {"min_size": 1, "max_size": 1, **USES[use]}

with ConnectionPool(conninfo, **settings) as pool:
    for seconds in (0.0, float(pause))[: 2 if float(pause) else 1]:
        time.sleep(seconds)
        try:
            with pool.connection() as connection:
                connection.execute("select 1").fetchall()
        except OperationalError as error:
            print("query failed:", str(error).splitlines()[0])
        else:
            print("query answered")

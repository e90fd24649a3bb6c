"""Fixtures that every test may ask for: real servers, started when first wanted, and skips."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests import servers
from tests.servers import Nginx, Pki, Postgres

NginxFactory = Callable[..., Nginx]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Keeps tests away that this machine cannot run; ``server`` may name binaries it needs."""
    if item.get_closest_marker("root"):
        servers.need_packet_socket()
    if item.get_closest_marker("kernel_truth"):
        servers.need_kernel_truth()
    for marker in item.iter_markers("server"):
        for name in marker.args:
            servers.need_server(name)


@pytest.fixture
def needs_capture() -> None:
    """For tests that open a packet socket themselves."""
    servers.need_packet_socket()


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Certificates of this test session."""
    return servers.make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def postgres(pki: Pki) -> Iterator[Postgres]:
    """A PostgreSQL that asks for client certificates."""
    with servers.running_postgres(pki) as server:
        yield server


@pytest.fixture(scope="session")
def nginx_factory(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NginxFactory]:
    """Starts nginx with directives of one's own: ``nginx_factory(keepalive_timeout="60s")``.

    Asked twice for the same directives it gives the same server.
    """
    started: dict[tuple[tuple[str, str], ...], Nginx] = {}
    with ExitStack() as until_the_end:

        def start(**directives: str) -> Nginx:
            wanted = tuple(sorted(directives.items()))
            if wanted not in started:
                folder = tmp_path_factory.mktemp("nginx")
                server = servers.running_nginx(folder, pki, directives)
                started[wanted] = until_the_end.enter_context(server)
            return started[wanted]

        yield start


@pytest.fixture(scope="session")
def nginx(nginx_factory: NginxFactory) -> Nginx:
    """An nginx that ends idle connections after a second."""
    return nginx_factory()

"""A real API server with a pretended node, and operators behind proxies that break what a network can break.

Nothing is skipped: where the cluster does not come up, the tests fail with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.background import Background
from tests.chaos.pretended_node import PretendedNode
from tests.chaos.together import Crowd
from tests.chaos.upstream import Upstream
from tests.chaos.world import Surroundings, World
from tests.cluster.conftest import ApiServer as CrdServer
from tests.cluster.conftest import cluster_env, crds
from tests.e2e.api_server import ApiServer
from tests.e2e.audit_log import AuditLog

__all__ = ["cluster_env", "crds"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs an API server, and patience."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(scope="session")
def api(cluster_env: dict[str, str]) -> CrdServer:
    """The API server as the fixture `crds` wants it."""
    return CrdServer(cluster_env["KUBECONFIG"])


@pytest.fixture(scope="module")
def surroundings(cluster_env: dict[str, str], crds: object) -> Iterator[Surroundings]:
    """The API server with this tree's CRDs and a pretended node, on which every pod of these tests is.

    Not for the session: tests elsewhere count the nodes that refuse a pod.
    """
    kubeconfig = Path(cluster_env["KUBECONFIG"])
    upstream = Upstream(kubeconfig)
    assert "DEVCLUSTER_AUDIT_LOG" in cluster_env, "this cluster has no audit log to read: use devcluster's own"
    audit = AuditLog(Path(cluster_env["DEVCLUSTER_AUDIT_LOG"]))
    with Background() as background, PretendedNode(background, upstream):
        found = Surroundings(ApiServer(kubeconfig), background, upstream, audit)
        found.remove_leftovers()
        yield found


@pytest.fixture(scope="module")
def crowd(
    request: pytest.FixtureRequest, surroundings: Surroundings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Crowd]:
    """The scenarios of the module, all begun."""
    items = [item for item in request.session.items if item.path == request.path]
    with surroundings.worlds(tmp_path_factory.mktemp("chaos")) as make_world:
        crowd = Crowd(items, make_world)
        yield crowd
        crowd.end()


@pytest.fixture
def world(surroundings: Surroundings, tmp_path: Path) -> Iterator[World]:
    """The world of a test that runs alone."""
    with surroundings.worlds(tmp_path) as make_world:
        yield make_world("alone")

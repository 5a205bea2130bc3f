"""What a scenario works with: namespaces, proxies and operators that go when it ends."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.api_proxy import ApiProxy
from tests.chaos.background import Background
from tests.chaos.operator_replica import Replica
from tests.chaos.pretended_node import node_templates
from tests.chaos.upstream import Upstream
from tests.e2e.api_server import ApiServer
from tests.e2e.audit_log import AuditLog

OURS = "keras-operator.dev/chaos"


@dataclass
class World:
    """The cluster as one scenario sees it."""

    api: ApiServer
    background: Background
    upstream: Upstream
    audit: AuditLog
    folder: Path
    exits: ExitStack

    def namespace(self) -> str:
        """A new namespace."""
        name = f"chaos-{secrets.token_hex(4)}"
        metadata = {"name": name, "labels": {OURS: "true"}}
        self.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        self.exits.callback(self.api.delete, "Namespace", None, name)
        return name

    def proxy(self, name: str) -> ApiProxy:
        """A new way to the API server, for the operator of this name."""
        return self.exits.enter_context(ApiProxy(self.background, self.upstream, name))

    def operator(
        self, proxy: ApiProxy, namespace: str, *flags: str, before_start: Callable[[], object] = lambda: None
    ) -> Replica:
        """A new operator that serves a namespace through a proxy."""
        templates = node_templates(self.folder / "templates")
        replica = Replica(proxy, self.folder, namespace, templates, *flags, before_start=before_start)
        return self.exits.enter_context(replica)

    def served(self, *flags: str) -> tuple[str, ApiProxy, Replica]:
        """A namespace with an operator of its own, whose Lease does not outlive its holder."""
        namespace = self.namespace()
        proxy = self.proxy(f"operator-of-{namespace}")
        return namespace, proxy, self.operator(proxy, namespace, *flags, before_start=self.lease_gone(namespace))

    def lease_gone(self, namespace: str) -> Callable[[], object]:
        """Deletes the Lease of a dead operator: that it ends by itself takes 15 s, and is tried with two replicas."""
        return lambda: self.api.delete("Lease", namespace, "keras-operator")

    def until(self, holds: Callable[[], object], what: str, seconds: float = 120.0) -> None:
        """Return once something holds that the API server cannot tell of. Raises AssertionError."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"{what} was not so within {seconds:.0f} s"
            time.sleep(0.1)


@dataclass(frozen=True)
class Surroundings:
    """What all scenarios share."""

    api: ApiServer
    background: Background
    upstream: Upstream
    audit: AuditLog

    @contextmanager
    def worlds(self, folder: Path) -> Iterator[Callable[[str], World]]:
        """Makes a world for each scenario, by its name; what one leaves behind goes at the end at the latest."""
        with ExitStack() as all_exits:

            def make(name: str) -> World:
                own = folder / name
                own.mkdir()
                exits = all_exits.enter_context(ExitStack())
                return World(self.api, self.background, self.upstream, self.audit, own, exits)

            yield make

    def remove_leftovers(self) -> None:
        """Delete the namespaces that a killed run left behind."""
        for namespace in self.api.objects("Namespace", None, selector=OURS):
            self.api.delete("Namespace", None, namespace["metadata"]["name"])

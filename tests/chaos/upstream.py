"""The real API server as the administrator reaches it, for what runs beside the tests."""

from __future__ import annotations

import base64
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml


class Upstream:
    """Where the API server is, and who we are to it.

    Args:
        kubeconfig: with a client certificate inside, as devcluster writes it, or with a token.
    """

    def __init__(self, kubeconfig: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        context = _named(document, "context", document["current-context"])
        cluster, user = _named(document, "cluster", context["cluster"]), _named(document, "user", context["user"])
        self.server: str = cluster["server"].rstrip("/")
        self._token: str = user.get("token", "")
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._ssl = ssl.create_default_context(cadata=authority)
        if "client-certificate-data" in user:
            with tempfile.NamedTemporaryFile() as pair:
                pair.write(base64.b64decode(user["client-certificate-data"]))
                pair.write(b"\n" + base64.b64decode(user["client-key-data"]))
                pair.flush()
                self._ssl.load_cert_chain(pair.name)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[aiohttp.ClientSession]:
        """A session that holds as many connections as there are requests."""
        connector = aiohttp.TCPConnector(limit=0, ssl=self._ssl)
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with aiohttp.ClientSession(
            self.server, connector=connector, headers=headers, timeout=timeout, auto_decompress=False
        ) as session:
            yield session


def _named(document: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(entry[kind] for entry in document[f"{kind}s"] if entry["name"] == name)
    return found

"""Finding the cluster: what is tried, and the sentence when it leads nowhere."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
import yaml
from keras_operator.cluster.connection import NoClusterError, connect


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch):
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def kubeconfig(tmp_path):
    path = tmp_path / "config"
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:8080/"}}
    user = {"name": "u", "user": {"token": "abc"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    content = {"clusters": [cluster], "users": [user], "contexts": [context], "current-context": "x"}
    path.write_text(yaml.safe_dump(content))
    return path


async def test_a_kubeconfig_is_read_by_name_or_from_the_environment(kubeconfig, monkeypatch):
    assert (await connect(str(kubeconfig))).server == "http://127.0.0.1:8080"
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    connection = await connect()
    assert await connection.authorization() == {"Authorization": "Bearer abc"}


async def test_a_kubeconfig_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NoClusterError, match=r"nothing.*--kubeconfig"):
        await connect(str(tmp_path / "nothing"))


async def test_a_context_that_is_not_there_is_named(kubeconfig):
    with pytest.raises(NoClusterError, match="other"):
        await connect(str(kubeconfig), "other")


async def test_a_pod_without_a_token_is_told(monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(NoClusterError, match="service account does not lead to a cluster"):
        await connect()


@pytest.fixture
async def proxy():
    """An HTTP proxy that answers by itself; what it was asked for, as (first line, credentials)."""
    asked = []

    async def answer(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        credentials = [line.partition(" ")[2] for line in head if line.lower().startswith("proxy-authorization:")]
        asked.append((head[0], credentials))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


async def test_the_environments_proxy_is_used_with_its_credentials(kubeconfig, monkeypatch, proxy):
    port, asked = proxy
    monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{port}")
    connection = await connect(str(kubeconfig))
    async with connection.session() as session, session.get(f"{connection.server}/version") as response:
        assert response.status == 200
    assert asked == [(f"GET {connection.server}/version HTTP/1.1", ["Basic bWU6c2VjcmV0"])]


async def test_a_server_that_no_proxy_names_is_asked_itself(kubeconfig, monkeypatch, proxy):
    port, asked = proxy
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("no_proxy", "*")
    connection = await connect(str(kubeconfig))
    async with connection.session() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"{connection.server}/version")
    assert asked == []

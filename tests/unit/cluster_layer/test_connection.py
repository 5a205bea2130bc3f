"""Finding the cluster: what is tried, and the sentence when it leads nowhere."""

from __future__ import annotations

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

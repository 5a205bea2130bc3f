"""Looks at the cluster over one connection that stays: a kubectl process for each would be the largest load of all."""

from __future__ import annotations

import json
from typing import Any

from kubernetes import client, config

_MODELS = ("keras-operator.dev", "v1alpha1")


class Looks:
    """Reads objects as the API server has them.

    Args:
        kubeconfig: of somebody who may read models and pods.
        namespace: where they are.
    """

    def __init__(self, kubeconfig: str, namespace: str) -> None:
        api = config.new_client_from_config(kubeconfig)
        self._namespace = namespace
        self._models = client.CustomObjectsApi(api)
        self._pods = client.CoreV1Api(api)

    def model(self, name: str) -> dict[str, Any]:
        """A KerasModel."""
        found: dict[str, Any] = self._models.get_namespaced_custom_object(
            *_MODELS, self._namespace, "kerasmodels", name
        )
        return found

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """The pods with these labels; as JSON, because making typed objects of them takes longer than the request."""
        answer = self._pods.list_namespaced_pod(
            self._namespace, label_selector=selector, _preload_content=False, _request_timeout=30
        )
        pods: list[dict[str, Any]] = json.loads(answer.data)["items"]
        return pods

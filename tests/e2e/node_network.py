"""What a node's network looks like when a request got no answer: without that nobody can say whose fault it was."""

from __future__ import annotations

import subprocess

from benchmarks.demo.errors import DemoError
from benchmarks.demo.kubectl import Kubectl, find_kubectl
from benchmarks.demo.surroundings import surroundings
from devcluster.namespaces import find_holder
from devcluster.nodes import Node
from devcluster.places import here
from devcluster.processes import tail

_LINES = 40
"""Of each part, the last ones: reports are cut where they are long."""


def seen() -> str:
    """Pods, what Services lead to, kube-proxy's last words, and the connections to Services that the node knows of."""
    try:
        kubectl = find_kubectl(surroundings().kubeconfig)
        parts = {kind: _of_tests(kubectl, kind) for kind in ("pods", "services", "endpointslices")}
    except DemoError as error:
        return str(error)
    node = Node(here())
    parts |= {"kube-proxy": tail(node.places, "kube-proxy", 5), "connections to port 80": _connections(node)}
    return "\n".join(f"== {name}\n" + "\n".join(text.splitlines()[-_LINES:]) for name, text in parts.items())


def _of_tests(kubectl: Kubectl, kind: str) -> str:
    lines = kubectl.run("get", kind, "-A", "-o", "wide", "--no-headers").splitlines()
    return "\n".join(line for line in lines if line.startswith("e2e-"))


def _connections(node: Node) -> str:
    holder = find_holder(node)
    if holder is None:
        return "the node is gone"
    command = ["nsenter", "--target", str(holder.pid), "--net", "conntrack", "-L", "-p", "tcp", "--orig-port-dst", "80"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout

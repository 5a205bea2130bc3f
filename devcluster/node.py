"""The cluster that this package starts itself: up, down, and what of it lives."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from devcluster import (
    addons,
    cgroups,
    fake_nodes,
    kubeconfig,
    namespaces,
    network,
    node_agents,
    nodes,
    pki,
    preconditions,
    processes,
)
from devcluster.build import binary, build_all
from devcluster.commands import run
from devcluster.control_plane import Served, api_server, controller_manager, etcd, scheduler
from devcluster.errors import CommandFailedError, DevclusterError, NotReadyError
from devcluster.nodes import Node
from devcluster.oci import pause_image
from devcluster.places import FAKE_NODES_SUFFIX, Places, locked, write_atomically
from devcluster.probes import answers
from devcluster.processes import Process, of_cluster, of_component
from devcluster.slots import Slot, claim, recorded

NODE_READY_SECONDS = 60.0
METRICS_SECONDS = 60.0
CGROUP_SECONDS = 10.0


def stages(places: Places, slot: Slot) -> tuple[tuple[Served, ...], ...]:
    """What the first node runs, in the order of its start; a stage waits until the one before is ready."""
    if places.fake_nodes:
        return fake_nodes.stages(places, slot)
    machine, first = node_agents.inspect_machine(), Node(places)
    return (
        (etcd(places, slot), node_agents.containerd(first, slot, machine), addons.minio(places, slot)),
        (api_server(places, slot),),
        (
            controller_manager(places, slot),
            scheduler(places, slot),
            node_agents.kubelet(first, slot, machine),
            node_agents.kube_proxy(first, slot, machine),
            addons.coredns(places, slot),
            addons.metrics_server(places, slot),
        ),
    )


def further_stages(node: Node, slot: Slot) -> tuple[tuple[Served, ...], ...]:
    """What a node beside the first runs: it has no control plane and no add-ons."""
    machine = node_agents.inspect_machine()
    agents = (node_agents.kubelet(node, slot, machine), node_agents.kube_proxy(node, slot, machine))
    return ((node_agents.containerd(node, slot, machine),), agents)


def components(node: Node, slot: Slot) -> list[Served]:
    """All components of a node."""
    of_node = stages(node.places, slot) if node.number == 1 else further_stages(node, slot)
    return [served for stage in of_node for served in stage]


def lock_path(places: Places) -> Path:
    """Held by whoever changes this clone's cluster. Beside the state, as `down` removes that."""
    return places.state.with_name(f"{places.name}.lock")


def up(places: Places) -> None:
    """Start the cluster, or what of it is missing. A second node that is there stays, whatever NODES says.

    Raises:
        DevclusterError: a step failed; the message says which and what to do.
    """
    preconditions.ensure(preconditions.CONTROL_PLANE if places.fake_nodes else preconditions.NODE)
    build_all(places, fake_nodes.PROGRAMS if places.fake_nodes else ())
    down_orphans(places)
    with locked(lock_path(places)):
        write_atomically(places.tree_record, str(places.tree))
        slot = claim(places, network.routes())
        pki.create(places, slot)
        further = [] if places.fake_nodes else _further_nodes(places)
        for node in further:
            pki.add_kubelet(node, slot)
        more = ["kwok"] if places.fake_nodes else [node.own("kubelet") for node in further]
        kubeconfig.write_all(places, slot, more)
        holder = _holder(places, slot)
        storage, api, agents = stages(places, slot)
        if places.fake_nodes:
            network.refuse_pods(slot, namespaces.enter(holder))
            for stage in (storage, api, agents):
                _start_stage(places, stage, holder)
            fake_nodes.apply(places, kubectl)
            return
        first = Node(places)
        cgroups.create(first.cgroup)
        _start_stage(places, storage, holder)
        _load_pause(first, holder)
        _start_stage(places, api, holder)
        # CoreDNS and metrics-server read what these objects allow them to read.
        addons.apply(places, slot)
        _start_stage(places, agents, holder)
        for node in further:
            _start_further(node, slot, holder)
        _wait_for_nodes(places)


def _further_nodes(places: Places) -> list[Node]:
    there = nodes.present(places)
    return [node for node in nodes.every(places)[1:] if node.number <= nodes.wanted() or node in there]


def _start_further(node: Node, slot: Slot, first: Process) -> None:
    holder = namespaces.find_holder(node)
    if holder is None:
        network.part(first)
        holder = namespaces.start_holder(node, slot, first)
    network.join(slot, first, holder, namespaces.enter(holder))
    cgroups.create(node.cgroup)
    storage, agents = further_stages(node, slot)
    _start_stage(node.places, storage, holder)
    _load_pause(node, holder)
    _start_stage(node.places, agents, holder)


def _holder(places: Places, slot: Slot) -> Process:
    holder = namespaces.find_holder(Node(places))
    if holder is None:
        # What a killed run or a crash may have left of an earlier node cannot be used by a new one.
        namespaces.kill_all(places)
        network.disconnect(slot)
        network.load_modules()
        holder = namespaces.start_holder(Node(places), slot)
    network.connect(slot, holder, namespaces.enter(holder))
    return holder


def _start_stage(places: Places, stage: tuple[Served, ...], holder: Process) -> None:
    running = of_cluster(places.name)
    for component in (served.component for served in stage):
        existing = of_component(running, component)
        if len(existing) == 1 and existing[0].mark == component.mark():
            continue
        for process in existing:
            processes.stop(process)
        processes.start(places, component, namespaces.enter(holder))
    for served in stage:
        _wait(places, served, holder)


def _wait(places: Places, served: Served, holder: Process) -> None:
    component = served.component

    def lives() -> bool:
        return bool(of_component(of_cluster(places.name), component))

    # Between its fork and its exec a component does not carry its program's name yet.
    processes.until(lives, 2.0)
    root = Path(f"/proc/{holder.pid}/root")
    processes.wait(places, component.name, lambda: answers(served.ready, root), lives, served.seconds)


def _load_pause(node: Node, holder: Process) -> None:
    program = binary(node.places, "pause")
    record = node.places.state / node.own("pause-image")
    if record.is_file() and record.read_text() == str(program):
        return
    archive = node.places.state / "pause.tar"
    archive.write_bytes(pause_image(program))
    run([*namespaces.enter(holder), "ctr", "--namespace", "k8s.io", "images", "import", archive])
    archive.unlink()
    write_atomically(record, str(program))


def kubectl(places: Places, *arguments: str) -> str:
    """Run kubectl as the administrator and return its output.

    Raises:
        CommandFailedError: it ended with another status than 0.
    """
    return run([binary(places, "kubectl"), f"--kubeconfig={places.kubeconfig}", *arguments])


def _wait_for_nodes(places: Places) -> None:
    """Ready means for pods: the default service account is there too, which pods need to be admitted."""
    names = [f"node/{node.name}" for node in nodes.present(places)]
    wishes = (
        *((name.replace("/", " "), ("--for=condition=Ready", name), NODE_READY_SECONDS) for name in names),
        ("service account", ("--for=create", "serviceaccount/default", "-n", "default"), NODE_READY_SECONDS),
        ("metrics API", ("--for=condition=Available", "apiservice/v1beta1.metrics.k8s.io"), METRICS_SECONDS),
    )
    for name in names:
        kubectl(places, "wait", "--for=create", name, f"--timeout={NODE_READY_SECONDS:.0f}s")
    for what, wish, seconds in wishes:
        try:
            kubectl(places, "wait", *wish, f"--timeout={seconds:.0f}s")
        except CommandFailedError as error:
            raise NotReadyError(
                f"the {what} was not there after {seconds:.0f} s; see `logs kubelet`: {error}"
            ) from error


def down(places: Places) -> None:
    """End the cluster and remove what it wrote; nothing where there is none.

    Raises:
        DevclusterError: something does not end.
    """
    with locked(lock_path(places)):
        namespaces.kill_all(places)
        slot = recorded(places.state)
        if slot is not None:
            network.disconnect(slot)
        groups = [node.cgroup for node in nodes.every(places)]
        for group in groups:
            if not processes.until(lambda group=group: cgroups.remove(group), CGROUP_SECONDS):  # type: ignore[misc]
                raise DevclusterError(f"the cgroup {group} still holds processes")
        if places.state.exists():
            # What claims the slot goes last: a killed `down` is taken up by the next.
            for entry in sorted(
                places.state.iterdir(), key=lambda path: path.name in {"slot", places.tree_record.name}
            ):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            places.state.rmdir()
        lock_path(places).unlink()


def down_orphans(places: Places) -> None:
    """End the clusters of clones that have been deleted; nobody else could."""
    for record in (places.cache / "clusters").glob("*/tree"):
        try:
            tree = Path(record.read_text())
        except FileNotFoundError:
            continue  # its own `down` was faster
        if not tree.exists():
            print(f"ending the cluster of {tree}, which is gone", flush=True)
            down(Places(places.cache, tree, fake_nodes=record.parent.name.endswith(FAKE_NODES_SUFFIX)))


@dataclass(frozen=True)
class ComponentStatus:
    """One line of `status`; `pid` is None for a component that is not running."""

    name: str
    pid: int | None
    memory_mib: int
    ready: bool


def status(places: Places) -> list[ComponentStatus]:
    """Each component of this clone's cluster; empty where there is no cluster."""
    slot = recorded(places.state)
    if slot is None:
        return []
    return [line for node in nodes.present(places) for line in _status_of(node, slot)]


def _status_of(node: Node, slot: Slot) -> list[ComponentStatus]:
    holder, running = namespaces.find_holder(node), of_cluster(node.places.name)
    lines = []
    for served in components(node, slot):
        found = of_component(running, served.component)
        if holder is None or not found:
            lines.append(ComponentStatus(served.component.name, None, 0, ready=False))
            continue
        ready = answers(served.ready, Path(f"/proc/{holder.pid}/root"))
        lines.append(ComponentStatus(served.component.name, found[0].pid, processes.memory_mib(found[0].pid), ready))
    return lines


def node_ready(places: Places) -> bool:
    """Whether Kubernetes calls each node Ready."""
    try:
        nodes = json.loads(kubectl(places, "get", "nodes", "-o", "json", "--request-timeout=5s"))["items"]
    except CommandFailedError:
        return False
    ready = [
        any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", ()))
        for node in nodes
    ]
    return bool(ready) and all(ready)

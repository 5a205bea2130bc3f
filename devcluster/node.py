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
    pki,
    preconditions,
    processes,
)
from devcluster.build import binary, build_all
from devcluster.commands import run
from devcluster.control_plane import Served, api_server, controller_manager, etcd, scheduler
from devcluster.errors import CommandFailedError, DevclusterError, NotReadyError
from devcluster.oci import pause_image
from devcluster.places import FAKE_NODES_SUFFIX, Places, locked, write_atomically
from devcluster.probes import answers
from devcluster.processes import Process, of_cluster, of_component
from devcluster.slots import Slot, claim, recorded

NODE_READY_SECONDS = 60.0
METRICS_SECONDS = 60.0
CGROUP_SECONDS = 10.0


def stages(places: Places, slot: Slot) -> tuple[tuple[Served, ...], ...]:
    """All components in the order in which they start; a stage waits until the one before is ready."""
    if places.fake_nodes:
        return fake_nodes.stages(places, slot)
    machine = node_agents.inspect_machine()
    return (
        (etcd(places, slot), node_agents.containerd(places, slot, machine), addons.minio(places, slot)),
        (api_server(places, slot),),
        (
            controller_manager(places, slot),
            scheduler(places, slot),
            node_agents.kubelet(places, slot, machine),
            node_agents.kube_proxy(places, slot, machine),
            addons.coredns(places, slot),
            addons.metrics_server(places, slot),
        ),
    )


def components(places: Places, slot: Slot) -> list[Served]:
    """All components."""
    return [served for stage in stages(places, slot) for served in stage]


def lock_path(places: Places) -> Path:
    """Held by whoever changes this clone's cluster. Beside the state, as `down` removes that."""
    return places.state.with_name(f"{places.name}.lock")


def up(places: Places) -> None:
    """Start the cluster, or what of it is missing.

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
        kubeconfig.write_all(places, slot)
        holder = _holder(places, slot)
        storage, api, agents = stages(places, slot)
        if places.fake_nodes:
            network.refuse_pods(slot, namespaces.enter(holder))
            for stage in (storage, api, agents):
                _start_stage(places, stage, holder)
            fake_nodes.apply(places, kubectl)
            return
        cgroups.create(node_agents.cgroup_name(places))
        _start_stage(places, storage, holder)
        _load_pause(places, holder)
        _start_stage(places, api, holder)
        # CoreDNS and metrics-server read what these objects allow them to read.
        addons.apply(places, slot)
        _start_stage(places, agents, holder)
        _wait_for_node(places)


def _holder(places: Places, slot: Slot) -> Process:
    holder = namespaces.find_holder(places)
    if holder is None:
        # What a killed run or a crash may have left of an earlier node cannot be used by a new one.
        namespaces.kill_all(places)
        network.disconnect(slot)
        network.load_modules()
        holder = namespaces.start_holder(places, slot)
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


def _load_pause(places: Places, holder: Process) -> None:
    program = binary(places, "pause")
    record = places.state / "pause-image"
    if record.is_file() and record.read_text() == str(program):
        return
    archive = places.state / "pause.tar"
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


def _wait_for_node(places: Places) -> None:
    """Ready means for pods: the default service account is there too, which pods need to be admitted."""
    wishes = (
        ("node", ("--for=condition=Ready", f"node/{pki.NODE_NAME}"), NODE_READY_SECONDS),
        ("service account", ("--for=create", "serviceaccount/default", "-n", "default"), NODE_READY_SECONDS),
        ("metrics API", ("--for=condition=Available", "apiservice/v1beta1.metrics.k8s.io"), METRICS_SECONDS),
    )
    kubectl(places, "wait", "--for=create", f"node/{pki.NODE_NAME}", f"--timeout={NODE_READY_SECONDS:.0f}s")
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
        if not processes.until(lambda: cgroups.remove(node_agents.cgroup_name(places)), CGROUP_SECONDS):
            raise DevclusterError(f"the cgroup {node_agents.cgroup_name(places)} still holds processes")
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
    slot, holder = recorded(places.state), namespaces.find_holder(places)
    if slot is None:
        return []
    running = of_cluster(places.name)
    lines = []
    for served in components(places, slot):
        found = of_component(running, served.component)
        if holder is None or not found:
            lines.append(ComponentStatus(served.component.name, None, 0, ready=False))
            continue
        ready = answers(served.ready, Path(f"/proc/{holder.pid}/root"))
        lines.append(ComponentStatus(served.component.name, found[0].pid, processes.memory_mib(found[0].pid), ready))
    return lines


def node_ready(places: Places) -> bool:
    """Whether Kubernetes calls the node, or each of the fake ones, Ready."""
    try:
        nodes = json.loads(kubectl(places, "get", "nodes", "-o", "json", "--request-timeout=5s"))["items"]
    except CommandFailedError:
        return False
    ready = [
        any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", ()))
        for node in nodes
    ]
    return bool(ready) and all(ready)

import subprocess
import sys

import pytest

from devcluster import cgroups, clusters, node, preconditions, probes
from devcluster.commands import run
from devcluster.errors import CommandFailedError, DevclusterError, MissingPreconditionError
from devcluster.existing import ExistingCluster
from devcluster.node_cluster import NodeCluster
from devcluster.places import TREE, Places, locked, write_atomically
from devcluster.preconditions import Requirement


@pytest.fixture
def places(tmp_path):
    return Places(cache=tmp_path / "cache", tree=tmp_path / "tree")


def test_version_2_of_cgroups_is_one_hierarchy(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    (tmp_path / "system.slice").mkdir()
    assert cgroups.hierarchies(tmp_path) == [tmp_path]


def test_version_1_is_one_hierarchy_a_controller_without_its_second_names(tmp_path):
    for name in ("memory", "cpu,cpuacct"):
        (tmp_path / name).mkdir()
    (tmp_path / "cpu").symlink_to("cpu,cpuacct")
    assert cgroups.hierarchies(tmp_path) == [tmp_path / "cpu,cpuacct", tmp_path / "memory"]


def test_missing_packages_are_named():
    requirements = (Requirement("here", lambda: True), Requirement("gone", lambda: False))
    assert preconditions.missing_packages(requirements) == ["gone"]


def test_without_root_the_error_names_the_other_ways(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(MissingPreconditionError, match="CLUSTER=kind"):
        preconditions.ensure(())


def test_without_apt_the_error_names_the_packages(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(MissingPreconditionError, match="lacks what Debian calls gone"):
        preconditions.ensure((Requirement("gone", lambda: False),))


def test_a_failed_command_shows_its_last_lines():
    script = "import sys\nfor i in range(99): print(i)\nsys.exit(3)"
    with pytest.raises(CommandFailedError, match=r"ended with status 3:\n97\n98$"):
        run([sys.executable, "-c", script], shown=2)


def test_a_command_that_is_not_installed_is_named():
    with pytest.raises(CommandFailedError, match="`no-such-program` is not installed"):
        run(["no-such-program"])


def test_an_unknown_kind_of_cluster_is_refused(places):
    with pytest.raises(DevclusterError, match="'minikube', which is none of node, kwok, kind, existing"):
        clusters.choose(places, "minikube")


def test_the_node_is_the_default(places, monkeypatch):
    monkeypatch.delenv("CLUSTER", raising=False)
    assert isinstance(clusters.choose(places), NodeCluster)


def test_an_existing_cluster_needs_a_kubeconfig(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(DevclusterError, match="KUBECONFIG"):
        ExistingCluster().kubeconfig()


def test_without_a_cluster_commands_say_how_to_start_one(places):
    text, ready = NodeCluster(places).status()
    assert not ready
    assert "make cluster" in text
    with pytest.raises(DevclusterError, match="make cluster"):
        NodeCluster(places).env()


def test_nobody_listening_is_an_answer(tmp_path):
    assert not probes.answers("http://127.0.0.1:1/healthz")
    assert not probes.answers("unix:///none.sock", root=tmp_path)


def test_a_file_is_written_whole_with_its_mode(tmp_path):
    path = tmp_path / "deep" / "file"
    write_atomically(path, "text", mode=0o600)
    assert path.read_text() == "text"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_the_package_runs_on_the_standard_library_alone():
    done = subprocess.run(
        [sys.executable, "-S", "-m", "devcluster", "--help"], cwd=TREE, capture_output=True, text=True, check=True
    )
    assert "kubeconfig" in done.stdout


def test_a_lock_whose_file_was_removed_while_waiting_is_taken_anew(tmp_path, monkeypatch):
    path, calls = tmp_path / "lock", []

    def lock_after_the_holder_removed_it(handle, operation):
        calls.append(operation)
        if len(calls) == 1:
            path.unlink()

    monkeypatch.setattr("fcntl.flock", lock_after_the_holder_removed_it)
    with locked(path):
        assert path.exists()
    assert len(calls) == 2


def test_clusters_of_deleted_clones_are_ended_and_others_are_not(tmp_path, monkeypatch):
    ended = []
    monkeypatch.setattr(node, "down", lambda places: ended.append(places.tree))
    for name in ("gone", "there"):
        tree = tmp_path / name
        places = Places(cache=tmp_path / "cache", tree=tree)
        write_atomically(places.tree_record, str(tree))
    (tmp_path / "there").mkdir()
    node.down_orphans(Places(cache=tmp_path / "cache", tree=tmp_path / "there"))
    assert ended == [tmp_path / "gone"]

import hashlib
import io
import json
import tarfile
from typing import Any

import pytest

from devcluster import image_archive, images, oci
from devcluster.buildah import without_cache_mounts
from devcluster.errors import DevclusterError
from devcluster.places import TREE, Places


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    for package in images.PACKAGES:
        (root / package).mkdir(parents=True)
        (root / package / "__init__.py").write_text("")
    for name in images.RECIPE:
        (root / name).write_text(name)
    return root


def test_a_changed_source_makes_another_key(tree):
    before = images.source_key(tree, "base")
    (tree / "model_server" / "new.py").write_text("x = 1\n")
    assert images.source_key(tree, "base") != before


def test_a_renamed_source_makes_another_key(tree):
    before = images.source_key(tree, "base")
    (tree / "model_store" / "__init__.py").rename(tree / "model_store" / "other.py")
    assert images.source_key(tree, "base") != before


def test_compiled_code_and_files_of_no_image_change_nothing(tree):
    before = images.source_key(tree, "base")
    (tree / "model_server" / "__pycache__").mkdir()
    (tree / "model_server" / "__pycache__" / "x.pyc").write_bytes(b"1")
    (tree / "model_server" / "compiled.abi3.so").write_bytes(b"1")
    (tree / "tests").mkdir()
    (tree / "tests" / "test_x.py").write_text("")
    assert images.source_key(tree, "base") == before


def test_another_base_image_makes_another_key(tree):
    assert images.source_key(tree, "a") != images.source_key(tree, "b")


class FakeBuilder:
    def __init__(self) -> None:
        self.stored: dict[str, str] = {}
        self.built: list[str] = []

    def base(self) -> str:
        return "base"

    def build(self, target: str, name: str) -> None:
        self.built.append(target)
        self.stored[name] = f"id-{name}"

    def id(self, name: str) -> str | None:
        return self.stored.get(name)

    def forget(self, prefix: str, keep: str) -> None:
        self.stored = {name: i for name, i in self.stored.items() if name == keep or not name.startswith(prefix)}


def test_a_second_build_builds_nothing_and_a_change_builds_all_once(tree, tmp_path):
    places, builder = Places(cache=tmp_path / "cache", tree=tree), FakeBuilder()
    first = images.build_all(places, builder)
    assert [image.reference for image in first] == [
        "docker.io/keras-operator/operator:dev",
        "docker.io/keras-operator/trainer:dev",
        "docker.io/keras-operator/server:dev",
    ]
    assert images.build_all(places, builder) == first
    assert builder.built == list(images.TARGETS)
    (tree / "operator" / "x.py").write_text("")
    images.build_all(places, builder)
    assert builder.built == list(images.TARGETS) * 2
    assert len(builder.stored) == len(images.TARGETS)


def test_loading_before_building_says_what_to_run(tree, tmp_path):
    with pytest.raises(DevclusterError, match="run `make images`"):
        images.built(Places(cache=tmp_path / "cache", tree=tree), FakeBuilder())


def test_cache_mounts_are_taken_out_for_buildah_and_secrets_stay():
    line = "RUN --mount=type=cache,target=/root/.cache --mount=type=secret,id=ca \\\n    true"
    assert without_cache_mounts(line) == "RUN --mount=type=secret,id=ca \\\n    true"


def test_the_projects_dockerfile_has_no_other_cache_mount():
    dockerfile = (TREE / "Dockerfile").read_text()
    assert "type=cache" in dockerfile
    assert "type=cache" not in without_cache_mounts(dockerfile)


def contents(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {name: file.read() for name in tar.getnames() if (file := tar.extractfile(name)) is not None}


def test_a_single_file_image_is_consistent_and_reproducible():
    archive = oci.single_file_image("docker.io/a/b:c", "run", b"program")
    assert archive == oci.single_file_image("docker.io/a/b:c", "run", b"program")
    files = contents(archive)
    for name, data in files.items():
        if name.startswith("blobs/sha256/"):
            assert hashlib.sha256(data).hexdigest() == name.rpartition("/")[2]
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "docker.io/a/b:c"
    manifest = json.loads(files[f"blobs/sha256/{entry['digest'][7:]}"])
    config = json.loads(files[f"blobs/sha256/{manifest['config']['digest'][7:]}"])
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]


@pytest.fixture
def layout(tmp_path):
    folder = tmp_path / "layout"
    (folder / "blobs" / "sha256").mkdir(parents=True)

    def blob(data: bytes) -> dict[str, Any]:
        name = hashlib.sha256(data).hexdigest()
        (folder / "blobs" / "sha256" / name).write_bytes(data)
        return {"digest": f"sha256:{name}", "size": len(data)}

    manifests = []
    for name in ("clone-server", "clone-trainer"):
        layers = [blob(b"shared"), blob(name.encode())]
        manifest = blob(json.dumps({"config": blob(f"config {name}".encode()), "layers": layers}).encode())
        manifests.append({**manifest, "annotations": {"org.opencontainers.image.ref.name": name}})
    (folder / "index.json").write_text(json.dumps({"manifests": manifests}))
    return folder


def test_an_archive_leaves_out_what_the_node_holds(layout):
    shared = f"sha256:{hashlib.sha256(b'shared').hexdigest()}"
    out = io.BytesIO()
    written = image_archive.write_archive(out, layout, "clone-server", "docker.io/x:dev", lambda d: d == shared)
    names = contents(out.getvalue())
    index = json.loads(names["index.json"])
    assert f"blobs/sha256/{shared[7:]}" not in names
    assert len([name for name in names if name.startswith("blobs/")]) == 3
    assert written > 0
    assert index["manifests"][0]["annotations"] == {"io.containerd.image.name": "docker.io/x:dev"}


def test_an_archive_for_an_empty_node_holds_everything(layout):
    out = io.BytesIO()
    image_archive.write_archive(out, layout, "clone-server", "docker.io/x:dev", lambda _: False)
    assert len([name for name in contents(out.getvalue()) if name.startswith("blobs/")]) == 4


def test_an_unknown_image_is_an_error(layout):
    with pytest.raises(KeyError):
        image_archive.entry(layout, "clone-operator")


def test_blobs_of_no_image_are_dropped_and_shared_ones_stay(layout):
    stray = layout / "blobs" / "sha256" / ("0" * 64)
    stray.write_bytes(b"old")
    before = {path.name for path in stray.parent.iterdir()}
    image_archive.drop_unused(layout)
    assert {path.name for path in stray.parent.iterdir()} == before - {stray.name}

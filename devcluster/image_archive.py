"""Move an image from the builder's storage into the node, sending only what the node lacks.

The builder writes into an OCI layout on disk, which keeps blobs from run to run; the tar stream that containerd imports
leaves out every blob that its content store holds. So after a change of code some hundred kilobytes move.
"""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from devcluster.oci import add_file

CONTENT_STORE = "io.containerd.content.v1.content/blobs/sha256"


def entry(layout: Path, name: str) -> dict[str, Any]:
    """The layout's descriptor of a named image.

    Raises:
        KeyError: the layout has no such image.
    """
    for manifest in json.loads((layout / "index.json").read_text())["manifests"]:
        if manifest.get("annotations", {}).get("org.opencontainers.image.ref.name") == name:
            return dict(manifest)
    raise KeyError(name)


def blobs(layout: Path, manifest_digest: str) -> list[str]:
    """The digests of a manifest, its configuration and its layers."""
    manifest = json.loads(blob_path(layout, manifest_digest).read_text())
    layers = [layer["digest"] for layer in manifest["layers"]]
    return [manifest_digest, manifest["config"]["digest"], *dict.fromkeys(layers)]


def blob_path(layout: Path, digest: str) -> Path:
    """Where a layout keeps a blob."""
    algorithm, _, value = digest.partition(":")
    return layout / "blobs" / algorithm / value


def in_content_store(containerd: Path) -> Callable[[str], bool]:
    """Tells whether containerd, whose root folder is given, holds a blob; it stores whole blobs only."""
    return lambda digest: (containerd / CONTENT_STORE / digest.partition(":")[2]).is_file()


def write_archive(out: IO[bytes], layout: Path, name: str, reference: str, held: Callable[[str], bool]) -> int:
    """Write an OCI archive without the blobs that are held already; the bytes of the blobs written."""
    descriptor = entry(layout, name)
    descriptor["annotations"] = {"io.containerd.image.name": reference}
    written = 0
    with tarfile.open(fileobj=out, mode="w|") as archive:
        add_file(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        add_file(archive, "index.json", json.dumps({"schemaVersion": 2, "manifests": [descriptor]}).encode())
        for digest in blobs(layout, descriptor["digest"]):
            if not held(digest):
                path = blob_path(layout, digest)
                archive.add(path, arcname=str(path.relative_to(layout)))
                written += path.stat().st_size
    return written


def drop_unused(layout: Path) -> None:
    """Remove blobs that no image of the layout refers to any more."""
    index = json.loads((layout / "index.json").read_text())
    used = {digest for manifest in index["manifests"] for digest in blobs(layout, manifest["digest"])}
    for path in (layout / "blobs" / "sha256").iterdir():
        if f"sha256:{path.name}" not in used:
            path.unlink()

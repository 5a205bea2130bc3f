"""OCI images from single files, without any tool: the sandbox image that every pod starts with."""

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

PAUSE_IMAGE = "docker.io/keras-operator/pause:dev"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def architecture() -> str:
    """This machine's architecture in OCI's words."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def add_file(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    """Add a file with nothing in its header that changes from run to run."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


def single_file_image(reference: str, file: str, content: bytes) -> bytes:
    """An OCI archive (tar) of an image that holds one executable and runs it as user 65535."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        add_file(archive, file, content, mode=0o755)
    layer_digest = digest(layer.getvalue())
    config = {
        "architecture": architecture(),
        "os": "linux",
        "config": {"User": "65535:65535", "Entrypoint": [f"/{file}"]},
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
    }
    blobs = {"layer": layer.getvalue(), "config": json.dumps(config).encode()}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _descriptor("application/vnd.oci.image.config.v1+json", blobs["config"]),
        "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", blobs["layer"])],
    }
    blobs["manifest"] = json.dumps(manifest).encode()
    entry = _descriptor("application/vnd.oci.image.manifest.v1+json", blobs["manifest"])
    entry["annotations"] = {"io.containerd.image.name": reference}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        add_file(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        add_file(archive, "index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())
        for blob in blobs.values():
            add_file(archive, f"blobs/sha256/{digest(blob).removeprefix('sha256:')}", blob)
    return out.getvalue()


def pause_image(pause: Path) -> bytes:
    """The sandbox image, as an OCI archive."""
    return single_file_image(PAUSE_IMAGE, "pause", pause.read_bytes())


def digest(data: bytes) -> str:
    """OCI's name of some content."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

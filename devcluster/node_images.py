"""Load built images into each node's containerd."""

import subprocess
from typing import IO

from devcluster import image_archive, namespaces, nodes
from devcluster.buildah import BuildahBuilder
from devcluster.errors import CommandFailedError, DevclusterError
from devcluster.images import Builder, Image
from devcluster.nodes import Node
from devcluster.places import Places, locked, write_atomically


def load(places: Places, builder: Builder, images: list[Image]) -> None:
    """Load those images that a node does not hold in this very content.

    Raises:
        DevclusterError: there is no node, or containerd refused an image.
    """
    for node in nodes.present(places):
        for image in images:
            record = places.state / node.own("images") / image.target
            if record.is_file() and record.read_text() == image.id:
                print(f"image {image.target} is in {node.name}")
                continue
            if isinstance(builder, BuildahBuilder):
                moved = _load_from_buildah(node, builder, image)
            else:
                moved = _load_from_docker(node, image)
            write_atomically(record, image.id)
            print(f"image {image.target} loaded into {node.name}, {moved}", flush=True)


def _load_from_buildah(node: Node, builder: BuildahBuilder, image: Image) -> str:
    places = node.places
    layout = places.images / "layout"
    name = f"{places.name}-{image.target}"
    with locked(places.images / "layout.lock"):
        builder.storage.export(image.local, layout, name)
        image_archive.drop_unused(layout)
        held = image_archive.in_content_store(node.folder / "containerd")
        with _Import(node) as stream:
            written = image_archive.write_archive(stream, layout, name, image.reference, held)
    return f"{written / 1e6:.1f} MB that the node did not have"


def _load_from_docker(node: Node, image: Image) -> str:
    subprocess.run(["docker", "tag", image.local, image.reference], check=True)
    with (
        subprocess.Popen(["docker", "save", image.reference], stdout=subprocess.PIPE) as save,
        _Import(node) as stream,
    ):
        if save.stdout is not None:
            while chunk := save.stdout.read(1 << 20):
                stream.write(chunk)
    if save.returncode != 0:
        raise CommandFailedError(f"`docker save {image.reference}` ended with status {save.returncode}")
    return "all of it"


class _Import:
    """containerd's import of an archive, as a stream to write to."""

    def __init__(self, node: Node) -> None:
        holder = namespaces.find_holder(node)
        if holder is None:
            raise DevclusterError(f"{node.name} is not running, to load images into; run `make cluster` first")
        self._command = [*namespaces.enter(holder), "ctr", "--namespace", "k8s.io", "images", "import", "-"]

    def __enter__(self) -> IO[bytes]:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT)
        if self._process.stdin is None:
            raise DevclusterError("ctr has no standard input")
        return self._process.stdin

    def __exit__(self, *error: object) -> None:
        output, _ = self._process.communicate()
        if self._process.returncode != 0:
            raise CommandFailedError(f"containerd did not take the image: {output.decode(errors='replace').strip()}")

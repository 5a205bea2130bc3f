"""Descriptions of gRPC services in the form that ghz reads (`--protoset`)."""

from __future__ import annotations

from google.protobuf import descriptor, descriptor_pb2


def protoset(file: descriptor.FileDescriptor) -> bytes:
    """A `.proto` file and all that it imports, each after those that it needs."""
    files = descriptor_pb2.FileDescriptorSet()
    seen: set[str] = set()

    def add(one: descriptor.FileDescriptor) -> None:
        if one.name in seen:
            return
        seen.add(one.name)
        for needed in one.dependencies:
            add(needed)
        one.CopyToProto(files.file.add())

    add(file)
    return bytes(files.SerializeToString())

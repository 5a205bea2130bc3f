"""A device plug-in for kubelet whose devices are names alone: GPUs on a machine that has none.

It speaks kubelet's protocol `v1beta1` (k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1/api.proto) as NVIDIA's does: it
tells kubelet of itself, says which devices there are, and what a container that is given one finds in its environment.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
# Name, number, label, type, and of messages which; only what is used here: the rest is not sent.
_TEXT, _TEXTS = (_FIELD.LABEL_OPTIONAL, _FIELD.TYPE_STRING), (_FIELD.LABEL_REPEATED, _FIELD.TYPE_STRING)
_MANY = (_FIELD.LABEL_REPEATED, _FIELD.TYPE_MESSAGE)
_MESSAGES: dict[str, tuple[tuple[Any, ...], ...]] = {
    "Empty": (),
    "RegisterRequest": (("version", 1, *_TEXT), ("endpoint", 2, *_TEXT), ("resource_name", 3, *_TEXT)),
    "Device": (("ID", 1, *_TEXT), ("health", 2, *_TEXT)),
    "ListAndWatchResponse": (("devices", 1, *_MANY, "Device"),),
    "ContainerAllocateRequest": (("devices_ids", 1, *_TEXTS),),
    "AllocateRequest": (("container_requests", 1, *_MANY, "ContainerAllocateRequest"),),
    # A map is on the wire a list of pairs.
    "Variable": (("key", 1, *_TEXT), ("value", 2, *_TEXT)),
    "ContainerAllocateResponse": (("envs", 1, *_MANY, "Variable"),),
    "AllocateResponse": (("container_responses", 1, *_MANY, "ContainerAllocateResponse"),),
}


@contextmanager
def devices(folder: Path, resource: str, ids: list[str], variable: str) -> Iterator[list[list[str]]]:
    """Devices of kind `resource` on the node whose kubelet has its sockets in `folder`, until the context ends.

    Containers find the names of theirs in the environment as `variable`. What each was given is in the list.
    """
    messages, gone = _messages(), threading.Event()
    given: list[list[str]] = []

    def list_and_watch(_request: Any, _context: Any) -> Iterator[Any]:
        yield messages["ListAndWatchResponse"](devices=[{"ID": one, "health": "Healthy"} for one in ids])
        gone.wait()

    def allocate(request: Any, _context: Any) -> Any:
        given.extend(list(one.devices_ids) for one in request.container_requests)
        names = [",".join(one.devices_ids) for one in request.container_requests]
        answers = [{"envs": [{"key": variable, "value": name}]} for name in names]
        return messages["AllocateResponse"](container_responses=answers)

    def options(_request: Any, _context: Any) -> Any:
        # None of what may be asked for is.
        return messages["Empty"]()

    def of(name: str, make: Any, behaviour: Any) -> Any:
        return make(
            behaviour,
            request_deserializer=messages[name].FromString,
            response_serializer=lambda answer: answer.SerializeToString(),
        )

    handlers = {
        "GetDevicePluginOptions": of("Empty", grpc.unary_unary_rpc_method_handler, options),
        "ListAndWatch": of("Empty", grpc.unary_stream_rpc_method_handler, list_and_watch),
        "Allocate": of("AllocateRequest", grpc.unary_unary_rpc_method_handler, allocate),
    }
    socket = folder / f"{resource.replace('/', '-')}.sock"
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("v1beta1.DevicePlugin", handlers),))
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    try:
        with grpc.insecure_channel(f"unix:{folder / 'kubelet.sock'}") as kubelet:
            register = kubelet.unary_unary(
                "/v1beta1.Registration/Register",
                request_serializer=lambda request: request.SerializeToString(),
                response_deserializer=messages["Empty"].FromString,
            )
            register(
                messages["RegisterRequest"](version="v1beta1", endpoint=socket.name, resource_name=resource), timeout=10
            )
        yield given
    finally:
        gone.set()
        server.stop(grace=None).wait()
        socket.unlink(missing_ok=True)


def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="device_plugin.proto", package="v1beta1", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, label, kind, *of in fields:
            added = message.field.add(name=field, number=number, label=label, type=kind)
            if of:
                added.type_name = f".v1beta1.{of[0]}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"v1beta1.{name}")) for name in _MESSAGES}

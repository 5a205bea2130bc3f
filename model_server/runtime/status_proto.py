"""The status and metadata of models as TensorFlow Serving's messages, for both protocols."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from model_server.runtime.manager import Version
from model_server.runtime.protobufs import get_model_metadata_pb2, get_model_status_pb2
from model_server.runtime.servable import Servable

SIGNATURE_DEF = "signature_def"


def status_response(versions: Iterable[Version]) -> Any:
    """A GetModelStatusResponse for these versions, in their order."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for version in versions:
        status = response.model_version_status.add(version=version.number, state=int(version.state))
        status.status.error_code = int(version.error.code) if version.error is not None else 0
        status.status.error_message = str(version.error) if version.error is not None else ""
    return response


def signature_def_map(servable: Servable) -> Any:
    """A SignatureDefMap of a loaded version's signatures."""
    message = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in servable.interface.signature_defs.items():
        message.signature_def[name].CopyFrom(definition)
    return message


def metadata_response(version: Version, servable: Servable) -> Any:
    """A GetModelMetadataResponse for a loaded version."""
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = version.model
    response.model_spec.version.value = version.number
    response.metadata[SIGNATURE_DEF].Pack(signature_def_map(servable))
    return response

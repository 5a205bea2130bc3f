"""Calls of the model `kinds`, as gRPC's messages."""

from __future__ import annotations

import numpy as np

from model_server.runtime import protobufs
from model_server.runtime.dtypes import DataType
from model_server.runtime.tensor_proto import proto_from_array
from tests.unit.model_server.http2.raw_client import message

PREDICT = "/tensorflow.serving.PredictionService/Predict"


def sums(rows: int) -> bytes:
    """A call whose answer is more than 8 bytes for each row."""
    call = protobufs.predict_pb2.PredictRequest()
    call.model_spec.name = "kinds"
    call.inputs["a"].CopyFrom(proto_from_array(np.zeros((rows, 2), np.float32), DataType.FLOAT, as_content=True))
    call.inputs["b"].CopyFrom(proto_from_array(np.zeros(rows, np.int32), DataType.INT32, as_content=True))
    call.output_filter.append("sum")
    return message(call.SerializeToString())

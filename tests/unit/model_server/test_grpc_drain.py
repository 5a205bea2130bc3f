"""A runtime that is told to end answers what it has taken over gRPC, and then ends."""

from __future__ import annotations

import signal

import grpc
import numpy as np

from model_server.runtime import protobufs
from model_server.runtime.dtypes import DataType
from model_server.runtime.tensor_proto import proto_from_array

CALLS = 12
ROWS = 20_000


def test_calls_that_were_taken_are_answered_after_sigterm(models, launch_server):
    server = launch_server(f"--model_base_path={models / 'digits'}", "--model_name=digits")
    server.wait_available("digits", 2)
    request = protobufs.predict_pb2.PredictRequest()
    request.model_spec.name = "digits"
    # A batch takes long enough for the signal to come before the last of them is answered.
    images = np.zeros((ROWS, 8, 8, 1), np.float32)
    request.inputs["image"].CopyFrom(proto_from_array(images, DataType.FLOAT, as_content=True))
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        stub = protobufs.prediction_services()[0].PredictionServiceStub(channel)
        calls = [stub.Predict.future(request, timeout=60) for _ in range(CALLS)]
        calls[0].result(60)
        server.process.send_signal(signal.SIGTERM)
        answered_after = sum(not call.done() for call in calls)
        answers = [call.result(60) for call in calls]
    assert answered_after > 0, "all were answered before the signal: nothing was drained"
    assert len(answers) == CALLS
    assert server.process.wait(60) == 0

"""What KServe's client library makes of a server: `kserve_client.py REST GRPC IMAGES.npy`, in its own environment."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig


def request(images: Any, *, binary: bool) -> InferRequest:
    given = InferInput("image", list(images.shape), "FP32")
    given.set_data_from_numpy(images, binary_data=binary)
    return InferRequest("digits", [given], request_id="seven")


async def main() -> None:
    rest, grpc, file = sys.argv[1:]
    images = np.load(file)
    by_rest = InferenceRESTClient(RESTConfig(protocol="v2"))
    by_grpc = InferenceGRPCClient(grpc)
    url = f"http://{rest}"
    answers = {
        f"rest {'binary' if binary else 'json'}": await by_rest.infer(
            url, request(images, binary=binary), model_name="digits"
        )
        for binary in (False, True)
    }
    answers["grpc"] = await by_grpc.infer(request(images, binary=True))
    print(
        json.dumps(
            {
                "answers": {name: one.outputs[0].as_numpy().tolist() for name, one in answers.items()},
                "ready": [
                    await by_rest.is_server_ready(url),
                    await by_rest.is_server_live(url),
                    await by_rest.is_model_ready(url, "digits"),
                    await by_grpc.is_server_ready(),
                    await by_grpc.is_server_live(),
                    await by_grpc.is_model_ready("digits"),
                ],
            }
        )
    )


asyncio.run(main())

"""What Triton's client library makes of a server: `triton_client.py REST GRPC IMAGES.npy`, in its own environment."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http


def asked(library: Any, client: Any, images: Any, **binary: bool) -> dict[str, Any]:
    """Everything that a client can ask, by one of the library's two protocols."""
    given = library.InferInput("image", list(images.shape), "FP32")
    given.set_data_from_numpy(images, **({"binary_data": binary["input"]} if binary else {}))
    wanted = library.InferRequestedOutput("scores", **({"binary_data": binary["output"]} if binary else {}))
    text = library.InferInput("x", [2], "BYTES")
    text.set_data_from_numpy(np.array(["naïve".encode(), b"\0"], np.object_))
    try:
        client.infer("digits", [text])
        refused = ""
    except library.InferenceServerException as error:
        refused = str(error)
    found = client.infer("digits", [given], outputs=[wanted], request_id="seven")
    echoed = client.infer("types", [text], parameters={"signature_name": "string_vector"})
    old = client.infer("digits", [given], model_version="1")
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model": client.is_model_ready("digits"),
        "none": client.is_model_ready("nobody"),
        "scores": found.as_numpy("scores").tolist(),
        "old": old.as_numpy("scores").tolist(),
        "text": [one.hex() for one in echoed.as_numpy("y").tolist()],
        "refused": refused,
    }


def main() -> None:
    rest, grpc, file = sys.argv[1:]
    images = np.load(file)
    http_client = tritonclient.http.InferenceServerClient(rest)
    answers = {
        f"http {name}": asked(tritonclient.http, http_client, images, input=given, output=wanted)
        for name, given, wanted in (("json", False, False), ("binary", True, True), ("binary in", True, False))
    }
    answers["grpc"] = asked(tritonclient.grpc, tritonclient.grpc.InferenceServerClient(grpc), images)
    inputs = {
        "http": http_client.get_model_metadata("digits")["inputs"],
        "server": http_client.get_server_metadata()["name"],
    }
    print(json.dumps({"answers": answers, "described": inputs}))


main()

"""The console script `tensorflow_model_server`."""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import logging
import os
import resource
import signal
import sys

import uvloop

from model_server.runtime import tensorflow_c
from model_server.runtime.errors import ServingError, StuckError
from model_server.runtime.flags import UsageError, parse_flags, usage
from model_server.runtime.server import ModelServer

_FAILED = 255  # TensorFlow Serving returns -1


def main() -> None:
    """Run the server until SIGTERM or SIGINT; exits with 0 after a drain, with 255 when it cannot start or go on."""
    try:
        flags = parse_flags(sys.argv[1:])
    except UsageError as error:
        print(f"{error}\n{usage()}", file=sys.stderr)
        sys.exit(_FAILED)
    if flags.version:
        own = importlib.metadata.version("keras-operator")
        print(f"TensorFlow ModelServer: keras-operator {own}\nTensorFlow Library: {tensorflow_c.version()}")
        return
    # Shells leave a process 1,024 files, and each idle client takes one.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname).1s %(message)s")
    try:
        server = ModelServer(flags)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(server))
            # A load that is still under way cannot be interrupted, and the interpreter would wait for its thread.
            logging.shutdown()
            os._exit(0)
    except ServingError as error:
        print(f"Failed to start server. Error: {error.with_code()}", file=sys.stderr)
        logging.shutdown()
        os._exit(_FAILED)
    except StuckError as error:
        # Its threads live until the process ends: only another process is free of them.
        print(f"The server has to end. Error: {error}", file=sys.stderr)
        logging.shutdown()
        os._exit(_FAILED)


async def _serve(server: ModelServer) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # What exists now lives as long as the process. Requests make many short-lived lists: with the default thresholds
    # the collector would walk them over and over.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    await server.run(stop)


if __name__ == "__main__":
    main()

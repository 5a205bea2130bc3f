"""The console script `keras-agent`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from model_server.agent.agent import Agent, Fetch
from model_server.agent.fetching import fetch_servable
from model_server.agent.options import Options, parse_options
from model_server.agent.pages import Pages, error_response
from model_server.agent.wishes import OneVersion, RolloutFolder
from model_server.http_server import HttpServer, Limits

_LOG = logging.getLogger(__name__)


def main() -> None:
    """Run until SIGTERM or SIGINT; exits with 0, or with 1 when the port is taken or the program has failed."""
    options = parse_options(sys.argv[1:])
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname).1s %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    code = asyncio.run(_serve(options, lambda number: fetch_servable(options, number)))
    logging.shutdown()
    # A fetch under way cannot be interrupted, and the interpreter would wait for its thread; what it has written is
    # taken up again by the next fetch.
    os._exit(code)


async def _serve(options: Options, fetch: Fetch) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    wishes = OneVersion(options.version) if options.version else RolloutFolder(options.rollout_dir or Path())
    agent = Agent(options, wishes, fetch)
    server = HttpServer(Pages(agent).handle, error_response, Limits(body=64 * 1024, idle=60.0))
    try:
        await server.start("0.0.0.0", options.port)  # noqa: S104 - probed by the kubelet
    except OSError as error:
        _LOG.error("cannot listen on --port=%d: %s", options.port, error.strerror)
        return 1
    work = asyncio.create_task(agent.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
    failed = work.done()
    if failed:
        _LOG.error("the agent has failed", exc_info=work.exception())
    agent.stop()
    _leave_message(agent)
    await server.close()
    return 1 if failed else 0


def _leave_message(agent: Agent) -> None:
    """Write what was wrong last where Kubernetes shows it as the container's termination message."""
    if agent.error is None:
        return
    path = Path(os.environ.get("KERAS_TERMINATION_LOG", "/dev/termination-log"))
    try:
        path.write_text(f"{agent.error.reason}: {agent.error.message}"[:4000], encoding="utf-8")
    except OSError as error:
        _LOG.warning("cannot write the termination message to %s: %s", path, error.strerror)


if __name__ == "__main__":
    main()

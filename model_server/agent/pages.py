"""The agent's HTTP pages: three probes and the status."""

from __future__ import annotations

import re

import msgspec

from model_server.agent.agent import Agent
from model_server.http_server import Request, Response

_SECONDS = re.compile(r"/traffic/([1-9][0-9]{0,6})")


def error_response(status: int, message: str) -> Response:
    """An error as JSON."""
    return Response(status, msgspec.json.encode({"error": message}))


class Pages:
    """The handler of the agent's port."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def handle(self, request: Request) -> Response:
        """The answer to one request."""
        if request.method not in {"GET", "HEAD"}:
            return error_response(405, f"{request.method} is not allowed here, only GET")
        match request.path:
            case "/livez":
                return Response(200, b"ok\n", "text/plain")
            case "/startupz":
                return self._probe(passed=self._agent.configured)
            case "/readyz":
                return self._probe(passed=self._agent.serving)
            case "/status":
                return Response(200, msgspec.json.encode(self._agent.status()))
            case path if seconds := _SECONDS.fullmatch(path):
                return Response(200, msgspec.json.encode(self._agent.traffic(float(seconds[1]))))
            case _:
                return error_response(
                    404, f"{request.path} is not here; /startupz, /readyz, /livez, /status and /traffic/SECONDS are"
                )

    def _probe(self, *, passed: bool) -> Response:
        if passed:
            return Response(200, b"ok\n", "text/plain")
        status = self._agent.status()
        waits = f"{status.error.reason}: {status.error.message}" if status.error else status.phase.value
        return Response(503, f"{waits}\n".encode(), "text/plain; charset=utf-8")

"""Where the API server is and how to prove who we are, read by the official client's own configuration code."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from keras_operator.cluster.outage import Outage

_HOME_KUBECONFIG = str(Path("~/.kube/config").expanduser())


class NoClusterError(Exception):
    """There is no usable configuration of a cluster; the message says where one was looked for."""


class Connection:
    """An API server with credentials that renew themselves.

    Args:
        configuration: filled by `kubernetes.aio.config`; its refresh hook re-reads a service account's token.

    Attributes:
        outage: hears of every request, whether it was answered.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self.outage = Outage()
        self.server: str = configuration.host.rstrip("/")
        self.ssl_context: ssl.SSLContext | None = (
            _ssl_context(configuration) if self.server.startswith("https") else None
        )
        # Not aiohttp's trust_env: for each request it reads the environment and ~/.netrc anew, in a thread.
        self._proxy = configuration.proxy or _proxy_of_environment(self.server)

    async def authorization(self) -> dict[str, str]:
        """The `Authorization` header of this moment; empty with client certificates."""
        token = await self._configuration.get_api_key_with_prefix("BearerToken")
        if token:
            return {"Authorization": str(token).strip()}
        if self._configuration.username and self._configuration.password:
            return {"Authorization": self._configuration.get_basic_auth_token()}
        return {}

    def session(
        self,
        *,
        connections: int = 0,
        traces: Sequence[aiohttp.TraceConfig] = (),
        answer_within: float | None = None,
    ) -> aiohttp.ClientSession:
        """A new session on this server, every request of it authorized with the token of its moment.

        Args:
            connections: at most so many at once; 0 sets no bound.
            traces: told of the session's requests.
            answer_within: seconds until an answer must begin, however long it may then go on; None sets no bound.
        """

        async def authorize(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            request.headers.update(await self.authorization())
            try:
                async with asyncio.timeout(answer_within):
                    response = await handler(request)
            except (aiohttp.ClientError, OSError) as error:
                self.outage.failed(f"{request.method} {request.url.path}: {str(error) or type(error).__name__}")
                raise
            self.outage.answered()
            return response

        connector = aiohttp.TCPConnector(limit=connections, ssl=self.ssl_context or True)
        return aiohttp.ClientSession(
            connector=connector,
            middlewares=(authorize,),
            proxy=self._proxy,
            headers={"User-Agent": "keras-operator"},
            trace_configs=list(traces),
        )


async def connect(kubeconfig: str | None = None, context: str | None = None) -> Connection:
    """Find the cluster: this kubeconfig, else `$KUBECONFIG`, else the pod's service account, else `~/.kube/config`.

    Raises:
        NoClusterError: none of them is usable.
    """
    configuration = Configuration()
    in_pod = not kubeconfig and not os.environ.get("KUBECONFIG") and "KUBERNETES_SERVICE_HOST" in os.environ
    path = kubeconfig or os.environ.get("KUBECONFIG") or _HOME_KUBECONFIG
    try:
        if in_pod:
            load_incluster_config(client_configuration=configuration)
        else:
            await load_kube_config(
                config_file=path, context=context, client_configuration=configuration, persist_config=False
            )
    except (ConfigException, OSError, ValueError) as error:
        source = "the pod's service account" if in_pod else f"the kubeconfig {path}"
        remedy = "name a kubeconfig with --kubeconfig or $KUBECONFIG"
        raise NoClusterError(f"{source} does not lead to a cluster: {error}; {remedy}") from error
    return Connection(configuration)


def _proxy_of_environment(server: str) -> str | None:
    """What HTTPS_PROXY, HTTP_PROXY and NO_PROXY say about this server."""
    parts = urlsplit(server)
    if parts.hostname is None or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)


def _ssl_context(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.disable_strict_ssl_verification:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context

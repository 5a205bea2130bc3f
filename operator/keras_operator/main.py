"""The console script `keras-operator`."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Sequence

import uvloop

from keras_operator.cluster.connection import NoClusterError, connect
from keras_operator.lifecycle import Lifecycle
from keras_operator.logs import configure_logging
from keras_operator.projection import project
from keras_operator.reconcile import Reconciler
from keras_operator.settings import Settings, parse

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the operator until a signal ends it.

    Returns:
        Exit status: 0 after a signal, 1 where something ended that must not, 2 where there is no cluster to work on.
    """
    settings = parse(sys.argv[1:] if arguments is None else arguments, os.environ)
    configure_logging(settings.log_format, settings.log_level)
    # Thousands of small objects live as long as the process: collecting at the default 700 new ones is half the CPU.
    gc.set_threshold(50_000, 20, 50)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_operate(settings))
    except NoClusterError as error:
        logger.critical("%s", error)
        return 2
    except Exception:
        logger.critical("the operator ends, and is to be started anew", exc_info=True)
        return 1
    return 0


async def _operate(settings: Settings) -> None:
    connection = await connect(settings.kubeconfig, settings.context)
    await Lifecycle(settings, connection, Reconciler, project).run()


if __name__ == "__main__":
    sys.exit(main())

"""`python3 -m devcluster COMMAND`: see `--help`."""

import argparse
import shlex
import sys
import time

from devcluster import clusters, images
from devcluster.build import build_all
from devcluster.errors import DevclusterError
from devcluster.pins import PINS
from devcluster.places import Places, here

COMMANDS = {
    "up": "start the cluster, or what of it is missing",
    "status": "show its processes and addresses; exit status 1 when it cannot be used",
    "logs": "show a component's log, or the last lines of all",
    "down": "end it and remove every trace",
    "kubeconfig": "print the path of the administrator's kubeconfig",
    "env": 'print variables for a shell: eval "$(python3 -m devcluster env)"',
    "images": "build what changed and load it",
    "load": "load what was built before",
    "build": "build programs of devcluster/go that the cluster itself does not need",
}


def main() -> int:
    """Run one command; 0 when it did what was asked."""
    parser = argparse.ArgumentParser(prog="devcluster", description="A real Kubernetes cluster for this clone.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        if name == "logs":
            command.add_argument("name", nargs="?", help="for instance kubelet")
        if name == "build":
            on_demand = [pin.name for pin in PINS if pin.on_demand]
            command.add_argument("names", nargs="+", choices=on_demand, metavar="NAME", help=", ".join(on_demand))
    arguments = parser.parse_args()
    try:
        if arguments.command == "build":
            build_all(here(), arguments.names)
            return 0
        return _run(here(), arguments.command, getattr(arguments, "name", None))
    except DevclusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130


def _run(places: Places, command: str, name: str | None) -> int:
    cluster = clusters.choose(places)
    begun = time.monotonic()
    match command:
        case "up":
            cluster.up()
            print(f"the cluster is ready after {time.monotonic() - begun:.1f} s; kubeconfig: {cluster.kubeconfig()}")
        case "status":
            text, ready = cluster.status()
            print(text)
            return 0 if ready else 1
        case "logs":
            print(cluster.logs(name))
        case "down":
            cluster.down()
        case "kubeconfig":
            print(cluster.kubeconfig())
        case "env":
            _print_env(cluster.env())
        case "images" | "load":
            builder = images.builder_here(places)
            built = images.build_all(places, builder) if command == "images" else images.built(places, builder)
            cluster.load(builder, built)
    return 0


def _print_env(variables: dict[str, str]) -> None:
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    if "DEVCLUSTER_BIN" in variables:
        print('export PATH="$DEVCLUSTER_BIN:$PATH"')


if __name__ == "__main__":
    sys.exit(main())

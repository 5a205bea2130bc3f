"""`python -m benchmarks.rollouts`: change a model in every way while vegeta and ghz ask it, and count what failed.

    --scenario NAME   only this one; may be given several times
    --requests N      at least so many in each scenario (100000)
    --kept N          requests a second over REST on kept connections (250)
    --fresh N         requests a second over REST with a new connection each (25)
    --grpc N          requests a second over gRPC (150)
    --store-seconds N for how long the store is stopped in "store stopped" (600); another time is another row
    --no-record       print the figures and do not write them down

Needs the dev cluster with its images (`make cluster images`, for "both nodes drained" with NODES=2). Figures go to
`benchmarks/results/rollouts.json`; those of other scenarios stay there. The canary that is taken back is drawn in
`docs/canary.svg`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.demo.errors import DemoError
from benchmarks.demo.install import ROOT, install_operator, make_namespace, remove_namespace
from benchmarks.demo.kubectl import find_kubectl
from benchmarks.demo.surroundings import machine, surroundings
from benchmarks.demo.upload import use_credentials
from benchmarks.figures import record
from benchmarks.rollouts import rows, scenarios
from benchmarks.rollouts.errors import RolloutsError
from benchmarks.rollouts.load import PINS, Rates
from benchmarks.rollouts.model import BUCKET, NAMESPACE, Model
from benchmarks.rollouts.picture import picture
from benchmarks.rollouts.sources import bring, empty
from devcluster.build import build_all
from devcluster.places import here

RESULTS = ROOT / "benchmarks" / "results" / "rollouts.json"
COMMAND = "make bench-rollouts"
PICTURE, PICTURED = ROOT / "docs" / "canary.svg", "canary taken back: errors"
_SHOWN_FAULTS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 if it went through, whatever it found."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rollouts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [one.name for one in scenarios.SCENARIOS]
    parser.add_argument("--scenario", action="append", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--kept", type=int, default=250)
    parser.add_argument("--fresh", type=int, default=25)
    parser.add_argument("--grpc", type=int, default=150)
    parser.add_argument("--store-seconds", type=int, default=scenarios.STORE_SECONDS)
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args(arguments)
    try:
        _run(options)
    except (RolloutsError, DemoError) as error:
        print(f"\nThe benchmark stopped: {error}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    build_all(here(), PINS)
    cluster = surroundings()
    kubectl = find_kubectl(cluster.kubeconfig)
    use_credentials(cluster)
    install_operator(kubectl)
    remove_namespace(kubectl, NAMESPACE)
    empty(cluster.s3_endpoint, BUCKET)
    with tempfile.TemporaryDirectory(prefix="rollouts-sources-") as folder:
        subprocess.run([sys.executable, "-m", "benchmarks.rollouts.servables", folder], check=True)
        bring(cluster.s3_endpoint, BUCKET, Path(folder))
    make_namespace(kubectl, NAMESPACE, cluster)
    model = Model(kubectl)
    model.apply(version=None)
    model.wait(lambda: model.serves(scenarios.FIRST), "a first version that serves")
    nodes = len(model.nodes())
    rates, published = Rates(options.kept, options.fresh, options.grpc), scenarios.FIRST
    for listed in scenarios.SCENARIOS:
        if options.scenario and listed.name not in options.scenario:
            continue
        scenario = scenarios.store_stopped(options.store_seconds) if listed.name == scenarios.STORE_STOPPED else listed
        if scenario.nodes > nodes:
            missing = f"needs {scenario.nodes} nodes: `make cluster images NODES={scenario.nodes}`"
            if options.scenario:
                raise RolloutsError(f"'{scenario.name}' {missing}")
            print(f"\n{scenario.name}: left out, {missing}")
            continue
        model.apply(version=min(scenario.before, published))
        while published < scenario.newest:
            published += 1
            model.publish(scenarios.SOURCES[published], published)
        print(f"\n{scenario.name} …", flush=True)
        row = rows.run(scenario, model, rates, options.requests)
        figures = row.figures(options.requests)
        for figure in figures:
            value = "-" if figure.value is None else f"{figure.value:,.2f}"
            print(f"  {figure.name:<62}{value:>12} {figure.unit:<9}{figure.bar or ''}")
        for fault, count in Counter(one.fault[:120] for one in row.failed).most_common(_SHOWN_FAULTS):
            print(f"    {count} × {fault}")
        sys.stdout.flush()
        if not options.no_record:
            if scenario.name == PICTURED:
                PICTURE.write_text(picture(row))
            record(RESULTS, machine(), COMMAND, figures, keep_others=True)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m benchmarks.demo`: train and serve the handwritten digits on the running cluster, and tell how it went.

    --started SECONDS   when `make demo` began (`date +%s.%N`); without it its wall time is not recorded
    --cold              nothing was built yet when it began: the wall time counts as the cold one

Safe to run again: the namespace, the model and what it published are made anew, the cluster and the data are kept.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from keras_operator.api import KerasModelVersionStatus

from benchmarks.demo import digits, gaps, timeline
from benchmarks.demo.audit import read_writes
from benchmarks.demo.errors import DemoError
from benchmarks.demo.install import ROOT, install_operator, make_namespace, remove_namespace
from benchmarks.demo.kubectl import Kubectl, find_kubectl
from benchmarks.demo.next_steps import next_steps
from benchmarks.demo.predict import SIGNATURES, Client, service_address
from benchmarks.demo.surroundings import Surroundings, machine, surroundings
from benchmarks.demo.upload import (
    DATA_URI,
    STORE_URI,
    empty_model_store,
    images,
    keep_held_out,
    make_buckets,
    sync_images,
    use_credentials,
)
from benchmarks.demo.watch import LiveLine, Report, watch_until_serving
from benchmarks.figures import Measured, Results, record
from devcluster.places import here
from model_store import open_store, read_manifest

NAMESPACE = "demo"
MODEL = "digits"
EXAMPLE = ROOT / "examples" / "digits.yaml"
RESULTS = ROOT / "benchmarks" / "results" / "demo.json"
COMMAND = "make demo"

SERVING_WITHIN = 600.0
COLD_BAR = "<= 1500"
WARM_BAR = "<= 240"
ACCURACY = 0.95
GAPS_BAR = "<= 2"


@dataclass(frozen=True)
class Served:
    """What was seen of the served model: when it was applied and answered, and its accuracy by signature."""

    report: Report
    applied: datetime
    answered: datetime
    accuracy: dict[str, float]
    address: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 if it went through and the served accuracy is as good as promised."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--started", type=float, help="when `make demo` began, in seconds since 1970")
    parser.add_argument("--cold", action="store_true", help="nothing was built yet when it began")
    options = parser.parse_args(arguments)
    try:
        return demonstrate(options.started, cold=options.cold)
    except DemoError as error:
        print(f"\nThe demo stopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe demo was interrupted; run it again at any time.", file=sys.stderr)
        return 130


def demonstrate(started: float | None, *, cold: bool) -> int:
    """All the steps. Raises DemoError where one cannot be taken."""
    cluster = surroundings()
    kubectl = find_kubectl(cluster.kubeconfig)
    use_credentials(cluster)
    everything = digits.load()
    chosen = digits.held_out([digit.label for digit in everything])
    unseen = [everything[index] for index in sorted(chosen)]
    held_out_folder = here().state / "held-out"

    with step("An empty namespace and model store"):
        remove_namespace(kubectl, NAMESPACE)
        make_buckets(cluster.s3_endpoint)
        empty_model_store(cluster.s3_endpoint)
        make_namespace(kubectl, NAMESPACE, cluster)
    with step("The operator, from manifests/"):
        install_operator(kubectl)
    with step("The data"):
        seen = [digit for index, digit in enumerate(everything) if index not in chosen]
        sync = sync_images(cluster.s3_endpoint, images(seen))
        keep_held_out(unseen, held_out_folder)
    print(
        f"  {sync.images} images of 10 digits are in {DATA_URI} ({sync.sent} sent now); "
        f"{len(unseen)} are held out and stay on this machine"
    )

    log_begin = cluster.audit_log.stat().st_size if cluster.audit_log else 0
    served = train_and_ask(kubectl, unseen, cluster)
    number = served.report.status.serving_version or 1

    print(f"\nAccuracy over HTTP on {len(unseen)} images that the trainer never saw:")
    for signature, accuracy in served.accuracy.items():
        print(f"  {accuracy:.4f}  signature {signature}")
    for words in (["get", "kerasmodels"], ["get", "kerasmodels", "-o", "wide"], ["get", "kerasmodelversions"]):
        print(f"\n$ kubectl -n {NAMESPACE} {' '.join(words)}\n{kubectl.run('-n', NAMESPACE, *words)}", end="")

    own = report_times(kubectl, cluster, served, number, log_begin)
    image = next(iter(sorted(held_out_folder.rglob("*.png"))))
    print("\n" + next_steps(kubectl, namespace=NAMESPACE, model=MODEL, address=served.address, image=image))

    wall = None if started is None else time.time() - started
    results = record(RESULTS, machine(), COMMAND, measured(served, own, wall, cold=cold))
    print_figures(results)
    worst = min(served.accuracy.values())
    if worst < ACCURACY:
        raise DemoError(f"the served accuracy is {worst:.4f}, and at least {ACCURACY} is promised.")
    return 0


def train_and_ask(kubectl: Kubectl, unseen: Sequence[digits.Digit], cluster: Surroundings) -> Served:
    """Apply the model, show it on its way to Serving, and ask it about every held-out image."""
    print(f"\n$ kubectl -n {NAMESPACE} apply -f {EXAMPLE.relative_to(ROOT)}")
    applied, begun = datetime.now(UTC), time.monotonic()
    print(kubectl.run("-n", NAMESPACE, "apply", "-f", str(EXAMPLE)), end="", flush=True)
    report = watch_until_serving(kubectl, NAMESPACE, MODEL, LiveLine(sys.stdout, begun), within=SERVING_WITHIN)
    with service_address(kubectl, NAMESPACE, MODEL) as address:
        client = Client(address, MODEL)
        client.first(unseen[0])
        answered = datetime.now(UTC)
        number = report.status.serving_version or 1
        classes = read_manifest(open_store(STORE_URI, endpoint=cluster.s3_endpoint), number).classes
        accuracy = {signature: client.accuracy(unseen, signature, classes) for signature in SIGNATURES}
    return Served(report, applied, answered, accuracy, address)


def report_times(
    kubectl: Kubectl, cluster: Surroundings, served: Served, number: int, log_begin: int
) -> list[gaps.Gap] | None:
    """Print the timeline and the operator's own gaps; returns the gaps, None where there is no audit log."""
    version = kubectl.get("kerasmodelversion", f"{MODEL}-{number}", "-n", NAMESPACE)
    pods = kubectl.get("pods", "-n", NAMESPACE, "-l", f"keras-operator.dev/model={MODEL}")["items"]
    moments = [
        timeline.Moment(served.applied, "kubectl apply", "user"),
        *timeline.from_version(msgspec.convert(version["status"], KerasModelVersionStatus).times),
        *timeline.from_pods(pods),
        timeline.Moment(served.report.seen, "Ready seen", "kubectl"),
        timeline.Moment(served.answered, "first prediction", "runtime"),
    ]
    own = None
    if cluster.audit_log is not None:
        writes = read_writes(cluster.audit_log, log_begin)
        own = gaps.own_gaps(writes, namespace=NAMESPACE, model=MODEL, number=number, ready_seen=served.report.seen)
        moments += timeline.from_audit(writes, namespace=NAMESPACE, model=MODEL, number=number)
        moments += timeline.from_gaps(own)
    print(f"\nTimeline of {MODEL}, version {number}\n{timeline.table(timeline.in_order(moments))}")
    if own is None:
        print("\nThis cluster gives no audit log to read, so the operator's own gaps are not measured.")
        return None
    print("\nThe operator's own gaps, from what asked in the API server to its answer")
    for gap in own:
        print(f"{gap.seconds:9.3f} s   {gap.asking:<21} -> {gap.step}")
    print(f"{sum(gap.seconds for gap in own):9.3f} s   together")
    return own


def measured(served: Served, own: Sequence[gaps.Gap] | None, wall: float | None, *, cold: bool) -> list[Measured]:
    """This run's figures."""
    first = (served.answered - served.applied).total_seconds()
    accuracy = served.accuracy
    return [
        Measured("make demo, cold", wall if cold else None, "s", COLD_BAR),
        Measured("make demo, warm", None if cold else wall, "s", WARM_BAR),
        Measured("served accuracy, floats", accuracy["serving_default"], "fraction", f">= {ACCURACY}"),
        Measured("served accuracy, PNG bytes", accuracy["serving_bytes"], "fraction", f">= {ACCURACY}"),
        Measured("apply to first prediction", first, "s"),
        Measured("operator's own gaps", None if own is None else sum(gap.seconds for gap in own), "s", GAPS_BAR),
    ]


def print_figures(results: Results) -> None:
    """What the file says now."""
    print(f"Figures in {RESULTS.relative_to(ROOT)} (median of the last runs):")
    for figure in results.figures:
        if figure.value is not None:
            verdict = {True: "holds", False: "MISSED", None: ""}[figure.holds]
            print(f"  {figure.name:<28} {figure.value:9.3f} {figure.unit:<9} {figure.bar or '':<9} {verdict}")


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is being done and how long it took."""
    print(f"{what} … ", end="", flush=True)
    begun = time.monotonic()
    yield
    print(f"{time.monotonic() - begun:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())

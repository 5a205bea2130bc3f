"""Queries about a canary: what Prometheus is asked, and what follows from the numbers that it gives."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from keras_operator.api import QUERY_VARIABLES, CanaryQuery
from keras_operator.plan.observed import Measured, Observed

_VARIABLE = re.compile(rf"\{{\{{ *({'|'.join(QUERY_VARIABLES)}) *\}}\}}")


def questions(observed: Observed, now: datetime) -> dict[str, str]:
    """What to ask Prometheus now, by the query's name: nothing unless a canary is watched and both versions answer."""
    model = observed.model
    if model is None or model.spec is None or model.spec.serving.rollout.canary is None:
        return {}
    queries, known = model.spec.serving.rollout.canary.analysis.queries, model.status.canary
    if known is None or known.since is None or known.refused:
        return {}
    old = observed.named
    ready = [pod for pod in observed.answering_pods() if pod.ready and pod.settled]
    new_pods, old_pods = ([pod.identity.name for pod in ready if pod.number == one] for one in (known.version, old))
    if not new_pods or not old_pods:
        return {}
    values = {
        "namespace": model.identity.namespace,
        "model": model.identity.name,
        "modelName": model.spec.serving.model_name or model.identity.name,
        "version": str(known.version),
        "stableVersion": str(old),
        "pods": _any_of(new_pods),
        "stablePods": _any_of(old_pods),
        "interval": f"{max(1, int((now - known.since).total_seconds()))}s",
    }
    return {query.name: _VARIABLE.sub(lambda found: values[found[1]], query.query) for query in queries}


def _any_of(names: Iterable[str]) -> str:
    """A regular expression for these names.

    Names of Kubernetes have letters, digits, '-' and '.', none of which means anything to a text of PromQL in whichever
    quotes; a dot is put in brackets, and not behind a backslash, which would.
    """
    return "|".join(name.replace(".", "[.]") for name in sorted(names))


@dataclass(frozen=True, slots=True)
class Finding:
    """What the numbers say: `out`, which of them is out of its bounds, `lacks`, what is waited for, `wrong`, which
    query does not give a number until somebody changes it (all empty: all is well), and `words`, the numbers.
    """

    out: str
    lacks: str
    wrong: str
    words: str


def judge(queries: Iterable[CanaryQuery], measured: Mapping[str, Measured]) -> Finding:
    """Hold the numbers against their bounds; of several the first is named."""
    out, lacks, wrong, words = "", "", "", []
    for query in queries:
        said = measured.get(query.name)
        if said is None:
            lacks = lacks or "an answer of Prometheus"
        elif said.silent:
            lacks = lacks or f"Prometheus, which {said.silent}"
        elif said.wrong:
            wrong = wrong or f"query {query.name} {said.wrong}"
        elif said.value is None:
            lacks = lacks or f"data of Prometheus for query {query.name}"
        else:
            words.append(f"{query.name} {said.value:.3g}")
            out = out or _out(query, said.value)
    return Finding(out, lacks, wrong, " · ".join(words))


def _out(query: CanaryQuery, value: float) -> str:
    if query.max is not None and value > query.max:
        wanted = f"at most {query.max:g}"
    elif query.min is not None and value < query.min:
        wanted = f"at least {query.min:g}"
    else:
        return ""
    return f"query {query.name} gave {value:.6g} for it, and {wanted} is wanted"

"""What must never happen, checked at every change and every request."""

from __future__ import annotations

from collections.abc import Callable

from keras_operator.api import KerasModelSpec, Strategy, inputs_hash
from keras_operator.cluster.reference import (
    CONFIG_MAP,
    DEPLOYMENT,
    HORIZONTAL_POD_AUTOSCALER,
    JOB,
    LEASE,
    POD,
    POD_DISRUPTION_BUDGET,
    Key,
    Kind,
    Ref,
)
from keras_operator.kinds import MODEL, VERSION
from keras_operator.plan.serving import least_replicas
from keras_operator.projection import VERSION_LABEL, WISH_ANNOTATION

from tests.simulation import people
from tests.simulation.api_server import decoded
from tests.simulation.memory_store import ObjectStorage
from tests.simulation.network import Request
from tests.simulation.object_table import Body, Change, ObjectTable, controller_uid, labels
from tests.simulation.operator_process import LEASE_REF
from tests.simulation.truth import CANARY_STEPS, Truth, VersionFacts, deployment_facts, is_apart, wants

# A request is answered or given up after 30 s; a look and its writes take a little longer.
_DECIDED_BEFORE_SECONDS = 60.0
# How long a write that nobody waits for any more may still be on its way.
_LATE_SECONDS = 62.0


class InvariantError(AssertionError):
    """Something happened that must never happen."""


class Invariants:
    """Listens to every change, after the truth has.

    Args:
        table: what there is.
        truth: what was.
        storage: what is published.
        meddler: what people broke.
        seen_until: the moment up to which a process knew everything about some kinds.
        believed_until: the same of all that matters to a model, when a process looked at it since a moment.
        decides_by: the same, when a process last began to look at a model.
    """

    def __init__(
        self,
        table: ObjectTable,
        truth: Truth,
        storage: ObjectStorage,
        meddler: people.People,
        seen_until: Callable[..., float],
        believed_until: Callable[[str, Key, float], float],
        decides_by: Callable[[str, Key], float],
    ) -> None:
        self._table = table
        self._truth = truth
        self._storage = storage
        self._people = meddler
        self._seen_until = seen_until
        self._believed_until = believed_until
        self._decides_by = decides_by

    def sent(self, request: Request) -> None:
        """A request of an operator leaves it: only the leader writes, and a canary leaves one pod alone."""
        if request.method == "PATCH" and request.about("pods"):
            self._tells_pod(request)
        elif request.method == "PATCH" and request.about("kerasmodels"):
            self._watches_canary(request)
        lease = self._table.get(LEASE_REF)
        if not request.writes or lease is None:
            return
        holder = lease["spec"]["holderIdentity"]
        _hold(holder == request.sender, "only the leader writes", f"{request.sender} writes while {holder} leads")

    def saw(self, change: Change) -> None:
        """Check a change that an operator made."""
        if not change.actor.startswith("operator") or change.ref.kind == LEASE:
            return
        if change.before is not None:
            self._belongs(change)
        if change.after is None:
            self._removal(change)
        elif change.ref.kind == VERSION:
            self._version_made(change) if change.before is None else self._version_status(change)
        elif change.ref.kind == JOB and change.before is None:
            self._job_made(change)
        elif change.ref.kind == DEPLOYMENT:
            self._deployment(change)
        elif change.ref.kind == CONFIG_MAP:
            self._start(change)
        elif change.ref.kind == POD:
            self._pod_told(change)
        elif change.ref.kind == MODEL:
            self._model_status(change)

    def _belongs(self, change: Change) -> None:
        """Nothing of anybody else is ever written to."""
        if change.ref.kind in {MODEL, VERSION} or change.before is None:
            return
        owner = controller_uid(change.before)
        if change.ref.kind == POD:
            # It belongs to its Deployment (there are no ReplicaSets here), and that to the model.
            deployment = self._table.named(owner or "")
            if deployment is None:
                return
            owner = controller_uid(deployment)
        ours = labels(change.before).get(people.MANAGED_BY) == "keras-operator"
        known = owner in self._truth.specs or owner in self._truth.versions
        _hold(
            known or (owner is None and ours), "nothing is taken over", f"{change.ref} belongs to {owner or 'people'}"
        )
        if change.after is not None and owner is not None and change.ref.kind != POD:
            _hold(controller_uid(change.after) == owner, "nothing is taken over", f"{change.ref} changed its owner")

    def _version_made(self, change: Change) -> None:
        number, model = change.body["spec"]["number"], controller_uid(change.body) or ""
        if self._table.named(model) is None:
            # Made for a model that is gone, which the writer had not heard of; the garbage collector takes it.
            return
        before = [one for one in self._truth.versions.values() if one.model_uid == model and one.uid != change.uid]
        since = self._seen_until(change.actor, MODEL) - _LATE_SECONDS
        # A first request was still on its way when a second one made the version, and people have deleted that since.
        if any(
            one.number == number and one.uid in self._people.deleted and one.gone is not None
            and one.gone >= change.time - _LATE_SECONDS
            for one in before
        ):  # fmt: skip
            return
        for one in before:
            # Deleted by people before the writer could read of it in the model's status; the claim in the store stands.
            known = max((said for time, said in self._truth.spoken[model] if time < since), default=0)
            forgotten = one.uid in self._people.deleted and known < one.number
            _hold(
                number > one.number or forgotten,
                "a number is never used again",
                f"{change.ref} was made, and version {one.number} of that model was there before",
            )
        self._known_spec(change, model, lambda spec: inputs_hash(spec) == change.body["spec"]["inputsHash"])

    def _job_made(self, change: Change) -> None:
        owner, stage = controller_uid(change.body) or "", change.ref.name.rpartition("-")[2]
        earlier = self._truth.jobs[owner, stage][:-1]
        if self._table.named(owner) is None:
            # A request that was late; the garbage collector takes what it made.
            return
        again = [uid for uid in earlier if uid not in self._people.deleted]
        _hold(not again, "one Job for each run", f"{change.ref} is the {len(earlier) + 1}. Job of its run")

    def _version_status(self, change: Change) -> None:
        assert change.before is not None
        before, after = change.before.get("status") or {}, (change.after or {}).get("status") or {}
        if before.get("phase") == "Published":
            same = all(before.get(part) == after.get(part) for part in ("phase", "servable", "metrics"))
            _hold(same, "a published version stays as it is", f"{change.ref} became {after.get('phase')}")
        if before.get("metrics"):
            kept = before["metrics"] == after.get("metrics")
            _hold(kept, "what was measured stays", f"{change.ref} had {before['metrics']}, has {after.get('metrics')}")
        self._claims_of_version(change, after)

    def _claims_of_version(self, change: Change, status: Body) -> None:
        uid, spec = change.uid, change.body["spec"]
        metrics = status.get("metrics") or {}
        if metrics:
            measured = self._storage.accuracy.get(uid)
            true = measured is not None and float(metrics["accuracy"]) == measured
            _hold(true, "a status says what is so", f"{change.ref} claims {metrics}, and {measured} was measured")
        phase = status.get("phase")
        if phase == "Published":
            found = self._storage.published.get((spec["store"]["uri"], spec["number"]))
            said = (status.get("servable") or {}).get("digest")
            _hold(found == (uid, said), "a status says what is so", f"{change.ref} claims {said}, {found} is published")
        elif phase == "Rejected":
            unmet = [gate for gate in status.get("gates") or () if not gate["met"]]
            _hold(bool(unmet), "a status says what is so", f"{change.ref} is rejected, and no gate is unmet")
        elif phase == "Failed" and _reason(status) not in {"Superseded", "DeadlineExceeded"}:
            stage = "export" if metrics or "source" in spec else "train"
            for job in self._truth.jobs[uid, stage]:
                if self._truth.removed.get(job) == people.ACTOR:
                    continue  # its pods are no run of anything, even if one of them still ends well
                done = [pod for _, pod in self._table.owned(job, POD) if pod["status"]["phase"] == "Succeeded"]
                _hold(
                    not done, "a status says what is so", f"{change.ref} failed ({_reason(status)}), its run went well"
                )

    def _deployment(self, change: Change) -> None:
        assert change.after is not None
        facts = deployment_facts(change.after)
        model = controller_uid(change.after) or ""
        if facts.hot:
            return
        version = self._truth.numbers(model).get(facts.number)
        self._may_serve(change, version, facts.number)
        assert version is not None
        if is_apart(change.after):
            return
        was = change.before and deployment_facts(change.before).number
        # One that people deleted is made again with any version that may serve, and a request that was long on its way
        # brings back for a moment what was right when it was sent.
        since = self._seen_until(change.actor, MODEL) - _LATE_SECONDS
        spells = [one for one in self._truth.deployments[model] if one.since < change.time and one.overlaps(since)]
        served = {spell.what.number for spell in spells}
        if any(spell.what.hot for spell in spells):
            # It named no version, and its pods went from one to another.
            served |= {one.what for one in self._truth.serving[change.ref.namespace, change.ref.name]}
        if was is not None and facts.number not in served:
            self._known_spec(change, model, lambda spec: wants(spec, version))
            self._was_tried(change, model, facts.number, since)

    def _was_tried(self, change: Change, model: str, number: int, since: float) -> None:
        """Where a canary has pods of its own, what serves makes way for what went through its steps."""
        specs = [spec.serving for _, spec in self._truth.specs_since(model, since)]
        pods = self._truth.serving[change.ref.namespace, change.ref.name]
        always = any(spell.since < since and spell.until is None for spell in pods)
        if not always or any(one.version or one.rollout.strategy is Strategy.ROLLING for one in specs):
            return
        if any(not one.rollout.own_pods for one in specs):
            return
        _hold(
            (model, number) in self._truth.tried,
            "a canary goes to all pods after its steps",
            f"{change.ref} names version {number} since {change.time:.1f} s, and only {self._truth.tried} were tried",
        )

    def _start(self, change: Change) -> None:
        """What new pods start with has served before, unless nothing serves: no new pod is the first to try."""
        assert change.after is not None
        number, model = int(change.after["data"]["version"]), controller_uid(change.after) or ""
        self._may_serve(change, self._truth.numbers(model).get(number), number)
        since = self._seen_until(change.actor, POD) - _LATE_SECONDS
        namesakes = self._truth.serving[change.ref.namespace, change.ref.name]
        served = {spell.what for spell in namesakes if spell.overlaps(since)}
        always = [spell for spell in namesakes if spell.since < since and spell.until is None]
        _hold(
            number in {spell.what for spell in namesakes} or not always,
            "new pods start with what has served",
            f"{change.ref} names version {number}, and pods serve {sorted(served)}",
        )

    def _pod_told(self, change: Change) -> None:
        """A pod is told a version that may serve, and bears the label of one that it served."""
        assert change.after is not None
        deployment = self._table.named(controller_uid(change.after) or "")
        if deployment is None:
            return
        told = (change.after["metadata"].get("annotations") or {}).get(WISH_ANNOTATION, "")
        model = controller_uid(deployment) or ""
        self._may_serve(change, self._truth.numbers(model).get(int(told)), int(told))
        label = labels(change.after).get(VERSION_LABEL)
        served = {spell.what for spell in self._truth.pods[change.uid]}
        _hold(
            label is None or int(label) in served,
            "a pod bears the version that it serves",
            f"{change.ref} is labelled {label}, and served {sorted(served)}",
        )
        if label is not None and label != labels(change.before or {"metadata": {}}).get(VERSION_LABEL):
            since = change.time - _LATE_SECONDS
            late = {spell.what for spell in self._truth.pods[change.uid] if spell.overlaps(since)}
            _hold(
                int(label) in late,
                "a pod bears the version that it serves",
                f"{change.ref} becomes labelled {label}, and since {since:.1f} s served {sorted(late)}",
            )

    def _tells_pod(self, request: Request) -> None:
        metadata = decoded(request.data)["metadata"]
        pod = self._table.get(Ref(POD, metadata["namespace"], metadata["name"]))
        deployment = self._table.named(controller_uid(pod) or "") if pod else None
        model = self._table.named(controller_uid(deployment) or "") if deployment else None
        told = metadata["annotations"][WISH_ANNOTATION]
        if pod is None or deployment is None or model is None:
            return
        canary = (model.get("status") or {}).get("canary") or {}
        if canary.get("version") == int(told) and canary.get("step", 1) <= CANARY_STEPS and not canary.get("refused"):
            self._keeps_the_old_one(request, model, deployment, told, pod["metadata"]["uid"])

    def _watches_canary(self, request: Request) -> None:
        """A status says since when a step's pods are watched: they are not all that there are."""
        path = request.path.split("/")
        status = decoded(request.data)[-1]["value"]
        ref = Ref(MODEL, path[path.index("namespaces") + 1], path[path.index("kerasmodels") + 1])
        model, deployment = self._table.get(ref), self._table.get(Ref(DEPLOYMENT, ref.namespace, ref.name))
        canary = status.get("canary") or {}
        if model is None or deployment is None or controller_uid(deployment) != model["metadata"]["uid"]:
            return
        if canary.get("since") and canary.get("step", 1) <= CANARY_STEPS and not canary.get("refused"):
            self._keeps_the_old_one(request, model, deployment, str(canary["version"]))

    def _keeps_the_old_one(
        self, request: Request, model: Body, deployment: Body, told: str, telling: str | None = None
    ) -> None:
        """While a canary is watched, one pod at least is not told to serve it, as far as the writer can know."""
        metadata = model["metadata"]
        since = self._decides_by(request.sender, (metadata["namespace"], metadata["name"]))
        specs = [spec.serving for _, spec in self._truth.specs_since(metadata["uid"], since)]
        start = self._table.get(Ref(CONFIG_MAP, metadata["namespace"], metadata["name"]))
        if start is None or start["data"]["version"] == told:
            return
        if any(one.rollout.strategy is not Strategy.CANARY or one.rollout.own_pods or one.version for one in specs):
            return
        spells = [spell for spell in self._truth.told[deployment["metadata"]["uid"]] if spell.overlaps(since)]
        others = {spell.what for spell in spells if spell.what[0] != telling}
        pods = {uid for uid, _ in others} | ({telling} if telling else set())
        _hold(
            len(pods) < 2 or any(wish != told for _, wish in others),
            "one pod keeps the old version while a canary is watched",
            f"all {len(pods)} pods of {metadata['name']} were told to serve version {told} since {since:.1f} s",
        )

    def _may_serve(self, change: Change, version: VersionFacts | None, number: int) -> None:
        rule = "only a published version serves"
        _hold(version is not None, rule, f"{change.ref} names version {number}, which that model never had")
        assert version is not None
        owners = {owner for (_, published), (owner, _) in self._storage.published.items() if published == number}
        _hold(version.uid in owners, rule, f"{change.ref} names version {number}, which is not published")
        body = self._table.named(version.uid)
        phase = ((body or {}).get("status") or {}).get("phase")
        _hold(phase not in {"Rejected", "Failed"}, rule, f"{change.ref} names version {number}, which is {phase}")

    def _removal(self, change: Change) -> None:
        rule = "only what is not wanted is removed"
        removable: tuple[Kind, ...] = (JOB, HORIZONTAL_POD_AUTOSCALER, POD_DISRUPTION_BUDGET)
        of_canary = change.ref.kind == DEPLOYMENT and is_apart(change.body)
        _hold(change.ref.kind in removable or of_canary, rule, f"{change.ref} was removed")
        owner = controller_uid(change.body) or ""
        if of_canary:
            self._canary_removal(change, owner)
            return
        if change.ref.kind == JOB:
            version = self._truth.versions[owner]
            newer = [one for one in self._truth.numbers(version.model_uid).values() if one.number > version.number]
            if not newer:
                self._known_spec(change, version.model_uid, lambda spec: inputs_hash(spec) != version.inputs)
        elif change.ref.kind == POD_DISRUPTION_BUDGET:
            self._known_spec(change, owner, lambda spec: least_replicas(spec) < 2)
        else:
            self._known_spec(change, owner, lambda spec: spec.serving.autoscaling is None)

    def _canary_removal(self, change: Change, model: str) -> None:
        """A canary's own pods go when the main Deployment has their version on all pods, or is to have another."""
        number = deployment_facts(change.body).number
        since = self._seen_until(change.actor, DEPLOYMENT) - _LATE_SECONDS
        known = [spell.what for spell in self._truth.deployments[model] if spell.overlaps(since)]
        _hold(
            not known or any(facts.number != number or facts.rolled_out for facts in known),
            "only what is not wanted is removed",
            f"{change.ref} was removed while version {number} was on its way to all pods: {known}",
        )

    def _known_spec(self, change: Change, model: str, fits: Callable[..., bool]) -> None:
        """What is written follows from the spec, or from one that the writer could still believe in."""
        since = self._seen_until(change.actor, MODEL) - _LATE_SECONDS
        known = self._truth.specs_since(model, since)
        rule = "what is written follows from the spec"
        _hold(any(fits(spec) for _, spec in known), rule, f"{change.ref} follows from no spec since {since:.1f} s")

    def _model_status(self, change: Change) -> None:
        assert change.before is not None
        assert change.after is not None
        status, uid, rule = change.after.get("status") or {}, change.uid, "a status says what is so"
        latest, made = status.get("latestVersion") or 0, self._truth.numbers(uid)
        _hold(
            latest == 0 or latest in made, rule, f"{change.ref} claims version {latest} as its newest: {sorted(made)}"
        )
        before = (change.before.get("status") or {}).get("latestVersion") or 0
        _hold(latest >= before, "the newest version stays known", f"{change.ref} went from {before} to {latest}")
        self._truth.spoken[uid].append((self._table.time, latest))
        generation = status["observedGeneration"]
        _hold(
            generation <= change.after["metadata"]["generation"], rule, f"{change.ref} claims generation {generation}"
        )
        said = {one["type"]: one for one in status["conditions"]}
        ready = said["Ready"]["status"] == "True"
        _hold(ready == (status["phase"] == "Serving" and "Stalled" not in said), rule, f"{change.ref}: Ready, {status}")
        both = ready and ("Reconciling" in said or "Stalled" in said)
        _hold(not both, rule, f"{change.ref} is ready, and yet {sorted(said)}")
        # What it says was decided by what was known at that moment, be it that a watch has caught up since.
        oldest = self._table.time - _DECIDED_BEFORE_SECONDS - _LATE_SECONDS
        since = min(oldest, self._believed_until(change.actor, (change.ref.namespace, change.ref.name), oldest))
        self._claims_of_serving(change.ref, status, since)
        if ready:
            self._claims_of_ready(change.ref, uid, generation, since)

    def _claims_of_serving(self, ref: Ref, status: Body, since: float) -> None:
        serving = status.get("servingVersion")
        if serving is None:
            return
        pods = self._truth.serving[ref.namespace, ref.name]
        answers = {spell.what for spell in pods if spell.overlaps(since)}
        text = f"{ref} claims that version {serving} serves; since {since:.1f} s {sorted(answers)} did"
        _hold(serving in answers, "a status says what is so", text)

    def _claims_of_ready(self, ref: Ref, uid: str, generation: int, since: float) -> None:
        """Ready: some Deployment that could be believed in was rolled out, and was what that generation asks for."""
        spec = next(spell.what[1] for spell in self._truth.specs[uid] if spell.what[0] == generation)
        name = spec.serving.model_name
        for spell in self._truth.deployments[uid]:
            facts = spell.what
            numbers = self._truth.numbers(uid)
            version = self._served_by_pods(ref, spec, numbers, since) if facts.hot else numbers.get(facts.number)
            fits = facts.served_name == name and version is not None and wants(spec, version)
            counted = spec.serving.autoscaling is not None or facts.replicas == spec.serving.replicas
            if spell.overlaps(since) and facts.rolled_out and fits and counted:
                return
        raise InvariantError(
            f"a status says what is so: {ref} claims Ready for generation {generation}, and no Deployment since "
            f"{since:.1f} s was that and rolled out"
        )

    def _served_by_pods(
        self, ref: Ref, spec: KerasModelSpec, numbers: dict[int, VersionFacts], since: float
    ) -> VersionFacts | None:
        """A version that the spec asks for and that pods answered with."""
        served = {spell.what for spell in self._truth.serving[ref.namespace, ref.name] if spell.overlaps(since)}
        found = [numbers[number] for number in served if number in numbers]
        return next((version for version in found if wants(spec, version)), None)


def _reason(status: Body) -> str:
    return next((one["reason"] for one in status.get("conditions") or () if one["type"] == "Ready"), "")


def _hold(holds: bool, rule: str, otherwise: str) -> None:
    if not holds:
        raise InvariantError(f"{rule}: {otherwise}")

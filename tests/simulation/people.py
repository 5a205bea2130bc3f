"""People: they apply, edit, suspend, pin, delete and re-create models, and lay hands on children."""

from __future__ import annotations

import copy
from collections.abc import Callable
from random import Random
from typing import Any

from keras_operator.cluster.reference import (
    CONFIG_MAP,
    DEPLOYMENT,
    HORIZONTAL_POD_AUTOSCALER,
    JOB,
    NETWORK_POLICY,
    POD,
    POD_DISRUPTION_BUDGET,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
    Ref,
)
from keras_operator.kinds import CANARY_LABEL, MODEL_LABEL, VERSION

from tests.simulation.api_server import ApiServer
from tests.simulation.object_table import Body, ObjectTable, labels

ACTOR = "people"
MANAGED_BY = "app.kubernetes.io/managed-by"
_APPLIED: tuple[Kind, ...] = (
    DEPLOYMENT,
    SERVICE,
    SERVICE_ACCOUNT,
    NETWORK_POLICY,
    CONFIG_MAP,
    HORIZONTAL_POD_AUTOSCALER,
    POD_DISRUPTION_BUDGET,
)
_LABELS = (MODEL_LABEL, CANARY_LABEL)
_AT_TIMES = (HORIZONTAL_POD_AUTOSCALER, POD_DISRUPTION_BUDGET)


class People:
    """Whoever has kubectl.

    Args:
        server: where plain updates go.
        table: what there is.
        random: decides what they do.
        models: names of the models that they know, with the store of each.
        step: told of what they do.
        later: calls back after so many seconds.

    Attributes:
        deleted: uids of whatever they deleted, or broke beyond use.
    """

    def __init__(
        self,
        server: ApiServer,
        table: ObjectTable,
        random: Random,
        models: dict[Ref, str],
        step: Callable[[str], object],
        later: Callable[[float, Callable[[], object]], object],
    ) -> None:
        self.deleted: set[str] = set()
        self._server = server
        self._table = table
        self._random = random
        self._models = models
        self._step = step
        self._later = later
        self._served_names = 0
        # Most teams stay with the strategy that they chose.
        self._hot: dict[Ref, bool] = {}
        # Beside the generator of everything else, so that this choice does not shift all others.
        self._strategies = Random(random.getstate()[1][0])
        self._strangers: dict[str, None] = {}

    def act(self) -> None:
        """Somebody does something to some model."""
        ref = self._random.choice(list(self._models))
        body = self._table.get(ref)
        if body is None:
            self._create(ref)
            return
        if "deletionTimestamp" in body["metadata"]:
            return
        deeds: list[tuple[int, Callable[[Ref, Body], None]]] = [
            (12, self._train_otherwise),
            (12, self._serve_otherwise),
            (5, self._set_gate),
            (5, self._pin),
            (4, self._suspend),
            (3, self._delete_model),
            (3, self._delete_version),
            (3, self._delete_job),
            (5, self._delete_child),
            (4, self._edit_child),
            (4, self._take_label_off_child),
            (2, self._take_label_off_job),
            (2, self._take_label_off_version),
            (3, self._delete_pod),
            (2, self._decorate),
        ]
        deed = self._random.choices([one for _, one in deeds], [weight for weight, _ in deeds])[0]
        deed(ref, body)

    def settle(self) -> None:
        """Take what is in the way out of it, and leave every model in a state that can be reached."""
        for uid in list(self._strangers):
            body = self._table.named(uid)
            if body is not None:
                metadata = body["metadata"]
                self._say(f"remove the stranger {body['kind']} {metadata['name']}")
                self._table.remove(Ref(SERVICE, metadata["namespace"], metadata["name"]), ACTOR)
        self._strangers.clear()

    def _create(self, ref: Ref) -> None:
        if self._random.random() < 0.1 and self._table.get(Ref(SERVICE, ref.namespace, ref.name)) is None:
            self._say(f"create a Service of their own where {ref} will want one")
            made = self._table.put(Ref(SERVICE, ref.namespace, ref.name), {"spec": {"ports": []}}, ACTOR)
            self._strangers[made["metadata"]["uid"]] = None
        spec: Body = {"store": {"uri": self._models[ref]}, "serving": self._serving(ref)}
        if self._random.random() < 0.8:
            spec["training"] = self._training()
        else:
            spec["source"] = {"uri": "s3://models/uploads/dogs"}
        if "training" in spec and self._random.random() < 0.4:
            spec["evaluation"] = self._gates()
        if self._random.random() < 0.05:
            spec["suspend"] = True
        self._say(f"create {ref}")
        self._table.put(ref, {"spec": spec}, ACTOR)

    def _training(self) -> Body:
        return {"data": {"uri": "s3://datasets/dogs"}, "epochs": self._random.randint(1, 4)}

    def _serving(self, ref: Ref) -> Body:
        """Every serving part has a served name of its own, so that a Deployment tells which one it was made from."""
        self._served_names += 1
        serving: Body = {"modelName": f"{ref.name}-{self._served_names}"}
        if self._random.random() < 0.25:
            serving["autoscaling"] = {"minReplicas": self._random.randint(1, 2), "maxReplicas": 3}
            serving["resources"] = {"requests": {"cpu": "500m"}}
        else:
            serving["replicas"] = self._random.choice((1, 1, 2, 3))
        chosen = self._hot.setdefault(ref, self._strategies.random() < 0.5)
        if chosen != (self._strategies.random() < 0.1):
            serving["rollout"] = {"strategy": "Hot", "maxSwaps": self._strategies.choice((1, 2, 5))}
            least = serving["autoscaling"]["minReplicas"] if "autoscaling" in serving else serving["replicas"]
            steps = [{"pods": "1", "hold": "20s"}, {"pods": "60%", "hold": "1m"}]
            if least >= 2 and self._strategies.random() < 0.5:
                serving["rollout"] |= {"strategy": "Canary", "canary": {"steps": steps}}
            if self._strategies.random() < 0.4:
                # Pods of its own take their time until they are there.
                steps = [{"pods": "1", "hold": "5s"}, {"pods": "60%", "hold": "20s"}]
                serving["rollout"] = {"strategy": "Canary", "canary": {"using": "Rolling", "steps": steps}}
        return serving

    def _gates(self) -> Body:
        return {"gates": [{"metric": "accuracy", "min": self._random.choice((0.1, 0.6, 0.75, 0.9))}]}

    def _edit(self, ref: Ref, body: Body, what: str, **parts: Any) -> None:
        self._say(f"{what} of {ref}")
        spec = {name: value for name, value in (body["spec"] | parts).items() if value is not None}
        self._table.change(ref, ACTOR, spec=spec)

    def _train_otherwise(self, ref: Ref, body: Body) -> None:
        if "source" in body["spec"]:
            uri = f"s3://models/uploads/dogs-{self._random.randint(1, 3)}"
            self._edit(ref, body, "change the source", source={"uri": uri})
        else:
            self._edit(ref, body, "change the training", training=self._training())

    def _serve_otherwise(self, ref: Ref, body: Body) -> None:
        serving = self._serving(ref)
        if pin := body["spec"]["serving"].get("version"):
            serving["version"] = pin
        self._edit(ref, body, "change the serving", serving=serving)

    def _set_gate(self, ref: Ref, body: Body) -> None:
        if "source" in body["spec"]:
            # The API server refuses gates for what is not trained here.
            return
        self._edit(ref, body, "set the gates", evaluation=self._random.choice((None, self._gates())))

    def _pin(self, ref: Ref, body: Body) -> None:
        serving = {name: value for name, value in body["spec"]["serving"].items() if name != "version"}
        if self._random.random() < 0.5:
            serving["version"] = self._random.randint(1, 4)
        self._edit(ref, body, f"pin version {serving.get('version')}", serving=serving)

    def _suspend(self, ref: Ref, body: Body) -> None:
        self._edit(ref, body, "suspend or resume", suspend=not body["spec"].get("suspend", False))

    def _delete_model(self, ref: Ref, body: Body) -> None:
        uid = body["metadata"]["uid"]
        if self._random.random() < 0.3:
            self._say(f"delete {ref} in the foreground")
            self._table.mark_deleted(ref, ACTOR)
            self._later(self._random.uniform(0.5, 20), lambda: self._gone(ref, uid))
            return
        self._say(f"delete {ref}")
        self._table.remove(ref, ACTOR)
        if self._random.random() < 0.5:
            self._create(ref)

    def _gone(self, ref: Ref, uid: str) -> None:
        body = self._table.get(ref)
        if body is not None and body["metadata"]["uid"] == uid:
            self._say(f"see {ref} go")
            self._table.remove(ref, ACTOR)

    def _delete(self, ref: Ref) -> None:
        body = self._table.get(ref)
        assert body is not None
        self._say(f"delete {ref}")
        self.deleted.add(body["metadata"]["uid"])
        if ref.kind == POD:
            if "deletionTimestamp" not in body["metadata"]:
                self._table.mark_deleted(ref, ACTOR)
            return
        self._table.remove(ref, ACTOR)

    def _delete_version(self, ref: Ref, _body: Body) -> None:
        if versions := self._of(ref, VERSION):
            self._delete(self._random.choice(versions))

    def _delete_job(self, ref: Ref, _body: Body) -> None:
        if jobs := self._of(ref, JOB):
            self._delete(self._random.choice(jobs))

    def _delete_pod(self, ref: Ref, _body: Body) -> None:
        if pods := self._of(ref, POD):
            self._delete(self._random.choice(pods))

    def _delete_child(self, ref: Ref, _body: Body) -> None:
        if children := self._children(ref):
            self._delete(self._random.choice(children))

    def _edit_child(self, ref: Ref, _body: Body) -> None:
        for child in self._children(ref):
            if child.kind not in {DEPLOYMENT, SERVICE}:
                continue
            spec = copy.deepcopy((self._table.get(child) or {})["spec"])
            if child.kind == SERVICE:
                spec["ports"][0]["port"] = 9999
            elif self._random.random() < 0.5:
                spec["template"]["spec"]["containers"][0]["image"] = "other:1"
            else:
                spec["replicas"] = 5
            self._say(f"edit {child}")
            self._server.update(child, ACTOR, spec=spec)
            return

    def _take_label_off_child(self, ref: Ref, _body: Body) -> None:
        # Not off what may be unwanted by and by: out of sight it would stay for ever, and nobody could know.
        if children := [child for child in self._children(ref) if child.kind not in _AT_TIMES]:
            self._take_label_off(self._random.choice(children), self._random.choice((MANAGED_BY, MODEL_LABEL)))

    def _take_label_off_job(self, ref: Ref, _body: Body) -> None:
        if jobs := self._of(ref, JOB):
            self._take_label_off(self._random.choice(jobs), self._random.choice((MANAGED_BY, MODEL_LABEL)))

    def _take_label_off_version(self, ref: Ref, _body: Body) -> None:
        if versions := self._of(ref, VERSION):
            self._take_label_off(self._random.choice(versions), self._random.choice((MANAGED_BY, MODEL_LABEL)))

    def _take_label_off(self, ref: Ref, label: str) -> None:
        body = self._table.get(ref)
        assert body is not None
        self._say(f"take {label} off {ref}")
        left = {name: value for name, value in labels(body).items() if name != label}
        self._table.relabel(ref, ACTOR, labels=left)

    def _decorate(self, ref: Ref, _body: Body) -> None:
        for child in self._children(ref)[:1]:
            body = self._table.get(child)
            assert body is not None
            self._say(f"label {child} as theirs")
            self._table.relabel(child, ACTOR, labels={**labels(body), "team": "vision"})

    def _children(self, ref: Ref) -> list[Ref]:
        """The applied children of a model as it is now."""
        uid = (self._table.get(ref) or {"metadata": {"uid": ""}})["metadata"]["uid"]
        return [child for kind in _APPLIED for child, _ in self._table.owned(uid, kind)]

    def _of(self, ref: Ref, kind: Kind) -> list[Ref]:
        """Whatever of a kind bears the model's label."""
        return [
            one
            for one, body in self._table.of_kind(kind)
            if one.namespace == ref.namespace and ref.name in (labels(body).get(name) for name in _LABELS)
        ]

    def _say(self, what: str) -> None:
        self._step(f"people {what}")

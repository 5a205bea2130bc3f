"""Policies of a platform, which change or refuse what one model's controllers create."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.e2e.api_server import ApiServer, Object, RefusedError

MODEL_LABEL = "keras-operator.dev/model"
# How the API server is asked what its policies would make of an object.
_TRIALS: dict[str, Object] = {
    "pods": {
        "kind": "Pod",
        "apiVersion": "v1",
        "spec": {
            "containers": [
                {
                    "name": "train",
                    "image": "none.invalid/none:1",
                    "command": ["none"],
                    "env": [{"name": "A", "value": "a"}],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "restartPolicy": "Never",
        },
    },
    "deployments": {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "spec": {
            "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "train", "image": "none.invalid/none:1"}]},
            },
        },
    },
    "serviceaccounts": {"kind": "ServiceAccount", "apiVersion": "v1"},
}
_GROUPS = {"deployments": "apps"}


@dataclass(frozen=True)
class Policy:
    """What happens to one kind of object of one model: JSON patches in CEL, or else a refusal with words."""

    resource: str
    patches: Sequence[str] = ()
    words: str = ""

    @property
    def kind(self) -> str:
        """The kind of the policy's own object."""
        return "MutatingAdmissionPolicy" if self.patches else "ValidatingAdmissionPolicy"

    def documents(self, name: str, namespace: str, model: str) -> list[Object]:
        """The policy and its binding."""
        rule = {
            "apiGroups": [_GROUPS.get(self.resource, "")],
            "apiVersions": ["v1"],
            # A pod's spec may not be changed later.
            "operations": ["CREATE"] if self.resource == "pods" else ["CREATE", "UPDATE"],
            "resources": [self.resource],
        }
        spec: Object = {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "objectSelector": {"matchLabels": {MODEL_LABEL: model}},
                "resourceRules": [rule],
            },
        }
        if self.patches:
            expression = "[" + ", ".join(self.patches) + "]"
            spec |= {
                "reinvocationPolicy": "Never",
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
            }
        else:
            spec["validations"] = [{"expression": "false", "message": self.words}]
        version = "admissionregistration.k8s.io/v1"
        binding: Object = {"policyName": name}
        if not self.patches:
            binding["validationActions"] = ["Deny"]
        return [
            {"apiVersion": version, "kind": self.kind, "metadata": {"name": name}, "spec": spec},
            {"apiVersion": version, "kind": f"{self.kind}Binding", "metadata": {"name": name}, "spec": binding},
        ]

    def holds(self, api: ApiServer, namespace: str, model: str) -> bool:
        """Whether the API server has heard of it: asked with a dry run."""
        trial = {**_TRIALS[self.resource], "metadata": {"name": "trial", "labels": {MODEL_LABEL: model}}}
        path = api.path(trial["kind"], namespace)
        query = {"dryRun": "All"}
        plain = api.request("POST", path, {**trial, "metadata": {"name": "trial"}}, query=query)
        try:
            made = api.request("POST", path, trial, query=query)
        except RefusedError:
            # By this policy itself, or by Pod Security for what it made of the trial.
            return True
        return bool(made.get("spec") != plain.get("spec"))

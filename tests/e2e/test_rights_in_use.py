"""The operator's roles hold exactly what it asks for: its requests in all these tests, against the rules, both ways.

This file runs last of the folder, and only with all the others.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.e2e.audit_log import AuditLog
from tests.e2e.operator_process import USER

BASE = Path(__file__).resolve().parents[2] / "manifests/base"

Right = tuple[str, str]
"""A verb, and what it is allowed for: `patch apps/deployments`."""


def granted() -> set[Right]:
    """Every verb of every rule of the operator's roles."""
    rights = set()
    for file in ("cluster-role.yaml", "leader-election-role.yaml"):
        for document in yaml.safe_load_all((BASE / file).read_text()):
            for rule in document.get("rules", ()):
                rights |= {
                    (verb, f"{group}/{resource}" if group else resource)
                    for group in rule["apiGroups"]
                    for resource in rule["resources"]
                    for verb in rule["verbs"]
                }
    return rights


def used(audit: AuditLog, start: int) -> set[Right]:
    """Every verb that the operator asked for; discovery of kinds, which everybody may read, is left out."""
    rights = set()
    for request in audit.since(start):
        if request.user != USER or not request.resource:
            continue
        resource = f"{request.resource}/{request.subresource}" if request.subresource else request.resource
        rights.add((request.verb, resource))
        # A server-side apply is logged as a patch; where it creates, the right to create is asked for as well.
        if request.verb == "patch" and request.code == 201:
            rights.add(("create", resource))
    return rights


def test_the_roles_hold_exactly_the_rights_in_use(audit: AuditLog, suite_start: int) -> None:
    asked, allowed = used(audit, suite_start), granted()
    assert {("patch", "keras-operator.dev/kerasmodels/status"), ("create", "batch/jobs")} <= asked, "nothing was logged"
    beyond, idle = sorted(asked - allowed), sorted(allowed - asked)
    assert not beyond, f"asked for without a rule: {beyond}"
    assert not idle, f"allowed and never asked for: {idle}"
    assert not [right for right in asked | allowed if "secrets" in right[1]]

"""An operator that has nothing to do writes nothing, and neither does one that has just started."""

from __future__ import annotations

from tests.e2e.api_server import MODEL, VERSION, ApiServer
from tests.e2e.audit_log import AuditLog
from tests.e2e.conftest import Served
from tests.e2e.models import is_ready
from tests.e2e.operator_process import USER, Operator


def test_a_restart_at_rest_writes_nothing(
    api: ApiServer, audit: AuditLog, operator: Operator, digits_model: Served
) -> None:
    before = api.wait_for(MODEL, digits_model.namespace, digits_model.name, is_ready, "a model at rest")
    versions = api.objects(VERSION, digits_model.namespace)
    place = audit.end()

    operator.replace()
    operator.wait_idle(reconciles=len(api.objects(MODEL, None)))

    requests = [request for request in audit.since(place) if request.user == USER]
    # Its watches are logged when they end; the lists that complete its cache at the start, at once.
    assert any(request.verb == "list" and request.resource.endswith("/kerasmodels") for request in requests)
    leases = [request for request in audit.writes(place, USER) if request.resource.endswith("/leases")]
    assert leases, "the audit log shows no operator that became leader"
    others = [str(request) for request in audit.writes(place, USER) if request not in leases]
    assert not others, "written at rest:\n" + "\n".join(others)
    after = api.get(MODEL, digits_model.namespace, digits_model.name)
    assert after == before
    assert api.objects(VERSION, digits_model.namespace) == versions

"""Paths of kinds and references."""

from __future__ import annotations

import pytest
from keras_operator.cluster.reference import DEPLOYMENT, POD, Ref


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (POD.path(), "/api/v1/pods"),
        (POD.path("ns"), "/api/v1/namespaces/ns/pods"),
        (POD.path("ns", "p", "log"), "/api/v1/namespaces/ns/pods/p/log"),
        (DEPLOYMENT.path("ns", "d"), "/apis/apps/v1/namespaces/ns/deployments/d"),
        (Ref(DEPLOYMENT, "ns", "d").path, "/apis/apps/v1/namespaces/ns/deployments/d"),
    ],
)
def test_a_path_is_that_of_the_api_server(path, expected):
    assert path == expected


def test_a_reference_reads_as_people_write_it():
    assert str(Ref(POD, "ns", "p")) == "Pod ns/p"

"""The kinds that wake a model: the two of this operator, and the children it watches."""

from __future__ import annotations

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
)

GROUP = "keras-operator.dev"
MODEL = Kind(GROUP, "v1alpha1", "kerasmodels", "KerasModel")
VERSION = Kind(GROUP, "v1alpha1", "kerasmodelversions", "KerasModelVersion")

CHILDREN = (
    JOB,
    DEPLOYMENT,
    SERVICE,
    SERVICE_ACCOUNT,
    HORIZONTAL_POD_AUTOSCALER,
    POD_DISRUPTION_BUDGET,
    NETWORK_POLICY,
    CONFIG_MAP,
    POD,
)

MODEL_LABEL = f"{GROUP}/model"
# In its place, on a canary's pods of its own.
CANARY_LABEL = f"{GROUP}/canary"
MANAGED_SELECTOR = "app.kubernetes.io/managed-by=keras-operator"

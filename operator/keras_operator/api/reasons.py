"""Words that machines read: types of conditions, and the reasons in them and in Events."""

from enum import StrEnum


class ConditionType(StrEnum):
    """Types of conditions. `Ready`, `Reconciling` and `Stalled` are read by kstatus, and so by GitOps tools."""

    READY = "Ready"
    """The wanted version answers predictions on every wanted pod (model); the version is published (version)."""
    RECONCILING = "Reconciling"
    """The operator is on its way to the wanted state. Present only while true."""
    STALLED = "Stalled"
    """Nothing will change until somebody does what the message says. Present only while true."""
    TRAINED = "Trained"
    """The newest version was trained and evaluated."""
    GATES_MET = "GatesMet"
    """The newest version met every gate."""
    PUBLISHED = "Published"
    """The newest version is in the store, verified."""
    AVAILABLE = "Available"
    """At least one pod answers predictions, perhaps with an older version."""


class ConditionStatus(StrEnum):
    """Kubernetes has three truth values."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class RunReason(StrEnum):
    """Why a run failed, as the container that failed says it."""

    NO_IMAGES = "NoImages"
    ONE_CLASS = "OneClass"
    TOO_MANY_BAD_FILES = "TooManyBadFiles"
    BAD_DATA = "BadData"
    BUCKET_NOT_FOUND = "BucketNotFound"
    ACCESS_DENIED = "AccessDenied"
    STORE_UNREACHABLE = "StoreUnreachable"
    NUMBER_TAKEN = "NumberTaken"
    DISK_FULL = "DiskFull"
    OUT_OF_MEMORY = "OutOfMemory"
    NO_GPU = "NoGpu"
    BAD_SAVED_MODEL = "BadSavedModel"
    BAD_MODEL_FILE = "BadModelFile"
    WEIGHTS_UNREACHABLE = "WeightsUnreachable"
    PARITY_FAILED = "ParityFailed"
    ALREADY_PUBLISHED = "AlreadyPublished"
    INVALID_ARCHITECTURE = "InvalidArchitecture"
    INVALID_BUILDER = "InvalidBuilder"
    BAD_OUTPUT = "BadOutput"
    DIVERGED = "Diverged"
    INTERRUPTED = "Interrupted"
    UNEXPECTED = "Unexpected"


class Reason(StrEnum):
    """Why a condition is what it is, as the operator says it; a run's own `RunReason` is passed on as it is."""

    # On the way.
    PENDING = "Pending"
    TRAINING = "Training"
    EXPORTING = "Exporting"
    ROLLING_OUT = "RollingOut"
    SUSPENDED = "Suspended"
    # Arrived.
    SERVING = "Serving"
    TRAINED = "Trained"
    NOT_TRAINED_HERE = "NotTrainedHere"
    GATES_MET = "GatesMet"
    NO_GATES = "NoGates"
    PUBLISHED = "Published"
    # What the outcome was.
    GATES_NOT_MET = "GatesNotMet"
    NOTHING_SERVES = "NothingServes"
    RUN_FAILED = "RunFailed"
    # What is in the way, found in the cluster.
    INVALID_SPEC = "InvalidSpec"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105
    IMAGE_PULL_FAILED = "ImagePullFailed"
    UNSCHEDULABLE = "Unschedulable"
    VOLUME_CLAIM_NOT_FOUND = "VolumeClaimNotFound"
    VOLUME_CLAIM_NOT_BOUND = "VolumeClaimNotBound"
    QUOTA_EXCEEDED = "QuotaExceeded"
    SECRET_KEY_NOT_FOUND = "SecretKeyNotFound"  # noqa: S105
    CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
    CONFIG_MAP_KEY_NOT_FOUND = "ConfigMapKeyNotFound"
    CONTAINER_CONFIG_INVALID = "ContainerConfigInvalid"
    CONTAINER_FAILED = "ContainerFailed"
    EVICTED = "Evicted"
    NODE_UNREACHABLE = "NodeUnreachable"
    SERVICE_ACCOUNT_NOT_FOUND = "ServiceAccountNotFound"
    POD_REFUSED = "PodRefused"
    JOB_SUSPENDED = "JobSuspended"
    STORE_CONFLICT = "StoreConflict"
    NAMESPACE_TERMINATING = "NamespaceTerminating"
    ROLLOUT_STUCK = "RolloutStuck"
    CANARY_WORSE = "CanaryWorse"
    CANARY_ABORTED = "CanaryAborted"
    SIGNATURE_CHANGED = "SignatureChanged"
    NO_ROOM = "NoRoom"
    NO_PROMETHEUS = "NoPrometheus"
    QUERY_FAILED = "QueryFailed"
    RESULT_LOST = "ResultLost"
    SUPERSEDED = "Superseded"
    CRASH_LOOPING = "CrashLooping"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    POD_NOT_READY = "PodNotReady"
    VERSION_NOT_FOUND = "VersionNotFound"
    VERSION_NOT_PUBLISHED = "VersionNotPublished"
    NAME_TAKEN = "NameTaken"
    CHILD_REFUSED = "ChildRefused"

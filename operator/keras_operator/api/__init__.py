"""The kinds as types: the one source for schema, defaults, documentation and validation.

Pure: nothing here reads a file, a clock or the environment (`generate` excepted, which writes the CRDs).
"""

from .architectures import ArchitectureName, PretrainedWeights, smallest_image
from .augmentation import Augmentation, FillMode, RandAugment
from .autoscaling import DEFAULT_CPU_UTILIZATION, Autoscaling, Behavior, ScalingRules
from .autoscaling_metrics import (
    ContainerResourceSource,
    MeasuredResource,
    MetricEntry,
    MetricType,
    ResourceTarget,
    ResourceTargetType,
)
from .builder import Builder, ConfigMapKey
from .cache import Cache
from .canary import Analysis, Canary, CanaryStep, PredictionDrift, Using, hold_seconds, pods_beside, pods_of
from .canary_queries import QUERY_VARIABLES, CanaryQuery
from .course import Checkpoint, EarlyStopping, Monitor, ReduceOnPlateau, StopAt
from .data import ClassWeights, ColorMode, Data, DataFormat
from .decode import ApiError, decode_model, decode_version
from .evaluation import OF_ANYTHING, OF_NUMBER, Evaluation, Gate, Metric
from .evaluation_table import EvaluationTable
from .fine_tuning import FineTuning
from .fingerprint import inputs_hash, store_digest
from .initial_weights import InitialWeights
from .judging import Verdict, compared, judge, measured_text
from .kerasmodel import KerasModelSpec
from .kinds import API_VERSION, GROUP, KERAS_MODEL, KERAS_MODEL_VERSION, KINDS, VERSION, Kind
from .labels import Labels
from .loss_parameters import LossParameters
from .losses import IN_OWN_UNIT, OF_CLASS_INDICES, OF_POSITIVE_ANSWERS, OF_SMOOTH_LABELS, Loss
from .metrics import Average, Curve, MetricName, TrainingMetric
from .normalization import Normalization
from .optimizer import Optimizer, OptimizerName
from .own_container import OwnContainer
from .precision import MixedPrecision
from .reasons import ConditionStatus, ConditionType, Reason, RunReason
from .records import RECORD_FILES, ImageRecords, Records
from .resources import Quantity, Resources, parse_quantity
from .rollout import DEFAULT_MAX_SWAPS, Rollout, SignatureChange, Strategy
from .run import Comparison, Images, Progress, ProgressStage, RunError, RunResult, RunSpec, RunStage, Servable
from .schedule import Schedule, ScheduleName
from .scheduling import GPU, TaintEffect, Toleration, TolerationOperator
from .serving import USUAL_TIMEOUT_SECONDS, Batching, Runtime, Serving
from .source import EvaluationData, EvaluationFormat, Source
from .status import CanaryStatus, Condition, EpochProgress, KerasModelStatus, Phase
from .store import Credentials, Store
from .table import MAX_TOKENS, SEQUENCE_LENGTH, Table, is_table_file
from .target import TargetKind
from .tensorboard import TensorBoard
from .training import (
    Architecture,
    Training,
)
from .version import (
    GateResult,
    ImageCounts,
    KerasModelVersionSpec,
    KerasModelVersionStatus,
    VersionComparison,
    VersionPhase,
    VersionServable,
)
from .wire import Time

__all__ = [
    "API_VERSION",
    "DEFAULT_CPU_UTILIZATION",
    "DEFAULT_MAX_SWAPS",
    "GPU",
    "GROUP",
    "IN_OWN_UNIT",
    "KERAS_MODEL",
    "KERAS_MODEL_VERSION",
    "KINDS",
    "MAX_TOKENS",
    "OF_ANYTHING",
    "OF_CLASS_INDICES",
    "OF_NUMBER",
    "OF_POSITIVE_ANSWERS",
    "OF_SMOOTH_LABELS",
    "QUERY_VARIABLES",
    "RECORD_FILES",
    "SEQUENCE_LENGTH",
    "USUAL_TIMEOUT_SECONDS",
    "VERSION",
    "Analysis",
    "ApiError",
    "Architecture",
    "ArchitectureName",
    "Augmentation",
    "Autoscaling",
    "Average",
    "Batching",
    "Behavior",
    "Builder",
    "Cache",
    "Canary",
    "CanaryQuery",
    "CanaryStatus",
    "CanaryStep",
    "Checkpoint",
    "ClassWeights",
    "ColorMode",
    "Comparison",
    "Condition",
    "ConditionStatus",
    "ConditionType",
    "ConfigMapKey",
    "ContainerResourceSource",
    "Credentials",
    "Curve",
    "Data",
    "DataFormat",
    "EarlyStopping",
    "EpochProgress",
    "Evaluation",
    "EvaluationData",
    "EvaluationFormat",
    "EvaluationTable",
    "FillMode",
    "FineTuning",
    "Gate",
    "GateResult",
    "ImageCounts",
    "ImageRecords",
    "Images",
    "InitialWeights",
    "KerasModelSpec",
    "KerasModelStatus",
    "KerasModelVersionSpec",
    "KerasModelVersionStatus",
    "Kind",
    "Labels",
    "Loss",
    "LossParameters",
    "MeasuredResource",
    "Metric",
    "MetricEntry",
    "MetricName",
    "MetricType",
    "MixedPrecision",
    "Monitor",
    "Normalization",
    "Optimizer",
    "OptimizerName",
    "OwnContainer",
    "Phase",
    "PredictionDrift",
    "PretrainedWeights",
    "Progress",
    "ProgressStage",
    "Quantity",
    "RandAugment",
    "Reason",
    "Records",
    "ReduceOnPlateau",
    "ResourceTarget",
    "ResourceTargetType",
    "Resources",
    "Rollout",
    "RunError",
    "RunReason",
    "RunResult",
    "RunSpec",
    "RunStage",
    "Runtime",
    "ScalingRules",
    "Schedule",
    "ScheduleName",
    "Servable",
    "Serving",
    "SignatureChange",
    "Source",
    "StopAt",
    "Store",
    "Strategy",
    "Table",
    "TaintEffect",
    "TargetKind",
    "TensorBoard",
    "Time",
    "Toleration",
    "TolerationOperator",
    "Training",
    "TrainingMetric",
    "Using",
    "Verdict",
    "VersionComparison",
    "VersionPhase",
    "VersionServable",
    "compared",
    "decode_model",
    "decode_version",
    "hold_seconds",
    "inputs_hash",
    "is_table_file",
    "judge",
    "measured_text",
    "parse_quantity",
    "pods_beside",
    "pods_of",
    "smallest_image",
    "store_digest",
]

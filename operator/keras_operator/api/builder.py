"""The team's own network: a Python function that a training calls."""

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from .addresses import S3_FOLDER
from .rules import Rule, fully_matches, ruled
from .wire import Written

_CONFIG_MAP_NAME = fully_matches(
    r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*",
    "must be the name of a ConfigMap: lower-case letters, digits, '-' and '.', starting and ending with a letter or "
    "digit, such as my-net",
)
_KEY = fully_matches(
    r"[-._a-zA-Z0-9]+", "must be a key of the ConfigMap: letters, digits, '-', '_' and '.', such as net.py"
)
_FUNCTION = fully_matches(r"[A-Za-z_][A-Za-z0-9_]*", "must be the name of a Python function, such as build_model")
_PYTHON = Rule(
    cel="self.endsWith('.py')",
    message="must be a file of Python source that ends in .py, such as s3://models/nets/net.py",
    holds=lambda uri: uri.endswith(".py"),
)


class ConfigMapKey(Written, frozen=True, kw_only=True):
    """One entry of a ConfigMap."""

    name: Annotated[
        str,
        Meta(
            max_length=253,
            description="ConfigMap in the model's namespace.",
            examples=["my-net"],
            extra=ruled(_CONFIG_MAP_NAME),
        ),
    ]
    key: Annotated[
        str,
        Meta(
            max_length=253,
            description="Entry of it that holds the Python source, at most 100 kB.",
            examples=["net.py"],
            extra=ruled(_KEY),
        ),
    ]


class Builder(Written, frozen=True, kw_only=True):
    """Python that builds the network; it runs in the pods that train and export, with the keys of the store."""

    config_map_key_ref: (
        Annotated[
            ConfigMapKey,
            Meta(
                description=(
                    "Where the source is, in the namespace. What it holds when a version is trained is kept with the "
                    "version; to train anew after a change, give the ConfigMap another name. Left out: uri is used."
                ),
                examples=[{"name": "my-net", "key": "net.py"}],
            ),
        ]
        | None
    ) = None
    uri: (
        Annotated[
            str,
            Meta(
                max_length=1024,
                description="Where the source is, as a file in S3. Left out: configMapKeyRef is used.",
                examples=["s3://models/nets/net.py"],
                extra=ruled(*S3_FOLDER, _PYTHON),
            ),
        ]
        | None
    ) = None
    function: Annotated[
        str,
        Meta(
            max_length=128,
            description=(
                "Function that is called as build_model(input_shape, num_classes, **params) and returns a keras.Model "
                "from images in [0, 1] to one probability a class; input_shape is (height, width, channels)."
            ),
            examples=["build_model"],
            extra=ruled(_FUNCTION),
        ),
    ] = "build_model"
    params: Annotated[
        dict[str, Any],
        Meta(
            max_length=64,
            description="Further arguments of the function, by name. Left out: none.",
            examples=[{"width": 64, "dropout": 0.3}],
        ),
    ] = msgspec.field(default_factory=dict)
    timeout_seconds: Annotated[
        int,
        Meta(
            ge=1,
            le=3600,
            description="Seconds, from 1 to 3600, after which the function is stopped and the training has failed.",
            examples=[600],
        ),
    ] = 300

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.configMapKeyRef) != has(self.uri)",
            message=(
                "configMapKeyRef and uri are both written or both missing: write configMapKeyRef for source in a "
                "ConfigMap, or uri for a .py file in S3"
            ),
            holds=lambda builder: (builder.config_map_key_ref is None) != (builder.uri is None),
        ),
    )

"""KerasModels made at random from the CRD's own schema: right ones, nearly right ones, and broken ones.

Document `index` of seed `seed` is always the same, whatever came before it, so that a failing one is made again alone.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

from keras_operator.api.loss_parameters import TAKERS
from keras_operator.api.losses import OF_NUMBERS, OF_NUMBERS_ALONE, OF_SMOOTH_LABELS
from keras_operator.api.names import camel

Json = Any
Schema = dict[str, Any]

# What breaks templates, shells, YAML and addresses when it is printed unquoted.
_NASTY = ["$(HOME)", "${x}", "{{x}}", "{%x%}", "a:b", "-a", "'", '"', "\\", "\\n", "%2e%2e", "null", "yes", "1e5"]
_NASTY += [
    "&a",
    "*a",
    "|",
    ">",
    "@",
    "`",
    "ü",
    "日本",
    "😀",
    "\u200b",
    "\u2028",
    "\ufeff",
    "~",
    "0x10",
    "!tag",
    "%s",
    ",",
]
_BROKEN_TEXT = ["", " ", "{{ x }}", "a: b", "\t", "\n", "\x7f", "..", "//", "?", "#", "-", ".", "A" * 5000]
_BROKEN_TEXT += [
    "S3://a/b",
    "gs://data/x",
    "file:///x",
    "http://",
    "s3://",
    "s3:///x",
    "s3://a..b/x",
    "s3://10.0.0.1/x",
]
_QUANTITIES: list[int | str] = [
    1,
    2,
    "1",
    "500m",
    "2Gi",
    "1.5Gi",
    "512Mi",
    "1e9",
    ".5",
    "1.",
    "100k",
    "1Ei",
    "0.1",
    2**31,
]
_BROKEN_QUANTITIES: list[int | str] = [
    0,
    -1,
    "0",
    "-1",
    "+1",
    "512m",
    "1Ki",
    "2 Gi",
    "1GB",
    "",
    "1e99",
    "1E",
    "0m",
    "1e-15",
]
_NAMES = ["cpu", "memory", "ephemeral-storage", "nvidia.com/gpu", "example.com/device-1"]
_BROKEN_NAMES = [
    "gpu",
    "mem",
    "hugepages-2Mi",
    "kubernetes.io/x",
    "requests.nvidia.com/gpu",
    "a..b/c",
    "/x",
    "x/",
    "A.b/c",
]
_ENDPOINTS = [
    "http://minio.minio.svc:9000",
    "https://s3.example.com",
    "http://10.0.0.7:65535/",
    "http://[fd00::1]:9000",
]
_BROKEN_ENDPOINTS = [
    "minio:9000",
    "http://localhost:9000",
    "http://127.1:1",
    "http://a:70000",
    "http://a_b",
    "http://a/b",
]
_SECRETS = ["minio", "minio-credentials", "a.b-c.d", "0", "s" * 63]
_BROKEN_SECRETS = ["Minio", "a..b", "-a", "a-", "a/b", "s" * 254]
_SERVED = ["dogs", "DogClassifier", "a.b_c-d", "7", "m" * 63]
_BROKEN_SERVED = ["my dogs", "-a", "a/b", "ü", "m" * 64, "a:predict"]
_TABLES = ["labels.csv", "a/b c.csv", "ü.csv", "{{x}}.csv"]
_BROKEN_TABLES = ["labels.tsv", "/labels.csv", "a/../labels.csv", "./labels.csv", "a//b.csv", "t" * 600]
_COLUMNS = ["id", "breed", "my column", "日本", "'", "a:b"]
_BROKEN_COLUMNS = ["", "c" * 257]
_LOSSES_OF_BOTH = [str(loss) for loss in OF_NUMBERS if loss not in OF_NUMBERS_ALONE]
_LOSSES_OF_NUMBERS = [str(loss) for loss in OF_NUMBERS]
_LOSSES_OF_NUMBERS_ALONE = [str(loss) for loss in OF_NUMBERS_ALONE]
# What people write into each text of the schema, and what they get wrong there.
_ADDRESSES = {"uri", "validationUri", "testUri"}
_TEXTS: dict[str, tuple[list[str], list[str]]] = {
    "endpoint": (_ENDPOINTS, _BROKEN_ENDPOINTS),
    "secretName": (_SECRETS, _BROKEN_SECRETS),
    "modelName": (_SERVED, _BROKEN_SERVED),
    "pods": (["10%", "99%", "1", "20"], ["100%", "0", "-1", "ten"]),
    "query": (["up", "max(x{pod=~'{{pods}}'})", "{{ interval }}", "{", *_NASTY[4:]], ["", "{{x}}", "{{", "q" * 2001]),
    "hold": (["30s", "5m", "2h", "manual"], ["5", "0m", "1d", "soon"]),
    "file": (_TABLES, _BROKEN_TABLES),
    "fileColumn": (_COLUMNS, _BROKEN_COLUMNS),
    "classColumn": (_COLUMNS, _BROKEN_COLUMNS),
    "target": (["income"], ["", "c" * 129]),
    "columns": ([*_COLUMNS, "income"], ["", "c" * 129]),
    "numeric": ([*_COLUMNS, "income"], ["", "c" * 129]),
    "categorical": (["postcode", "my town"], ["", "c" * 129]),
    "text": (["review", "日記"], ["", "c" * 129]),
    "ignored": (["number", "ü"], ["", "c" * 129]),
    "nodeSelector": (["ssd", "", "a_b.c-d", "7"], ["-a", "a b", "ü", "v" * 64]),
    "key": (["dedicated", "nvidia.com/gpu", "a_b.C", "net.py"], ["", "a b", "/x", "A.b/c", "k" * 400]),
    "value": (["", "training", "7"], ["-a", "a b", "v" * 64]),
    "priorityClassName": (["batch-low", "a.b"], ["Batch", "a..b", "-a", "p" * 254]),
    "queueName": (["team-vision", "q"], ["a.b", "Team", "", "q" * 64]),
    "name": (["my-net", "a.b", "0", "n" * 63], ["Net", "a..b", "-a", "a/b"]),
    "function": (["build_model", "_f", "F2"], ["2f", "a.b", "a b", ""]),
    "command": (["python", "", *_NASTY], ["c" * 4097]),
    "args": (["--width=64", "$(HOME)", *_NASTY], ["a" * 4097]),
    "container": (["runtime", "agent"], ["Runtime", "a.b", "", "c" * 64]),
    "claimName": (_SECRETS, _BROKEN_SECRETS),
    "apiVersion": (["v1", "apps/v1"], ["", "a/b/c", "/v1"]),
    "kind": (["Ingress", "Service"], ["", "a/b", "..", "%"]),
    "matchLabels": (["dogs", "", "a_b.c-d"], ["-a", "a b", "ü", "v" * 64]),
    "classes": (["beagle", "7", *_NASTY], _BROKEN_TEXT),
    "image": (["image/encoded", "image", *_NASTY], ["", "f" * 129]),
    "label": (["image/class/label", "label", "ü"], ["", "f" * 129]),
    "class": (["beagle", "Pembroke Welsh corgi"], ["", "x" * 65]),
}
_WRONG_TYPES: list[Json] = [None, True, 0, -1, 1.5, 2**40, "text", "", [], ["text"], {}, {"text": 1}]


class Documents:
    """Makes documents from the schema of a KerasModel.

    Args:
        schema: `openAPIV3Schema` of the CRD.
        seed: what decides every choice.
    """

    def __init__(self, schema: Schema, seed: str) -> None:
        self._spec: Schema = schema["properties"]["spec"]
        self._seed = seed

    def spec(self, index: int) -> Json:
        """The spec of document `index`: every third as the schema alone makes it, every third broken after that."""
        rng = random.Random(f"{self._seed}/{index}")
        spec = self._object(self._spec, rng, "")
        spec.pop(rng.choice(["training", "source"]), None)
        if "source" not in spec:
            spec.setdefault("training", self._value(self._spec["properties"]["training"], rng, ".training"))
        if index % 3:
            _mend(spec, rng)
        if index % 3 == 2:
            for _ in range(rng.randint(1, 3)):
                _break(spec, rng)
        return spec

    def _value(self, schema: Schema, rng: random.Random, path: str) -> Json:
        if "enum" in schema:
            return rng.choice(schema["enum"])
        if schema.get("x-kubernetes-preserve-unknown-fields"):
            return rng.choice([1, 0.5, "text", True, [1, 2], {"deep": {"er": 1}}, *_NASTY])
        if schema.get("x-kubernetes-int-or-string"):
            return rng.choice(_QUANTITIES if rng.random() < 0.9 else _BROKEN_QUANTITIES)
        kinds: dict[str, Callable[[], Json]] = {
            "object": lambda: self._object(schema, rng, path),
            "array": lambda: self._array(schema, rng, path),
            "boolean": lambda: rng.random() < 0.5,
            "integer": lambda: _whole_number(schema, rng),
            "number": lambda: _number(schema, rng),
            "string": lambda: _text(path.rpartition(".")[2], rng),
        }
        return kinds[schema["type"]]()

    def _object(self, schema: Schema, rng: random.Random, path: str) -> dict[str, Json]:
        if "additionalProperties" in schema:
            names = rng.sample(_NAMES, rng.randint(0, 3)) + rng.sample(_BROKEN_NAMES, rng.random() < 0.02)
            return {name: self._value(schema["additionalProperties"], rng, path) for name in names}
        required = schema.get("required", ())
        often = rng.choice([0.15, 0.4, 0.8])
        return {
            name: self._value(field, rng, f"{path}.{name}")
            for name, field in schema["properties"].items()
            if name in required or rng.random() < often
        }

    def _array(self, schema: Schema, rng: random.Random, path: str) -> list[Json]:
        two = path.endswith(("imageSize", "pixelRange", "zoomRange", "brightness")) and rng.random() < 0.97
        count = 2 if two else rng.choice([0, 1, 1, 2, 3, schema["maxItems"]])
        return [self._value(schema["items"], rng, path) for _ in range(count)]


def _whole_number(schema: Schema, rng: random.Random) -> int:
    low, high = schema.get("minimum", 0), schema.get("maximum", 2**31)
    number: int = rng.choice([low, high, rng.randint(low, min(high, low + 300)), rng.randint(low, high)])
    return number


def _number(schema: Schema, rng: random.Random) -> float:
    low = schema.get("minimum", 0) + (1e-6 if "exclusiveMinimum" in schema else 0)
    high = schema.get("maximum", 1) - (1e-6 if "exclusiveMaximum" in schema else 0)
    number: float = rng.choice([low, high, 1e-7, 0.1, 0.5, round(rng.uniform(low, high), 3), rng.uniform(0, 1)])
    return number


def _text(field: str, rng: random.Random) -> str:
    right = rng.random() < 0.97
    if field in _ADDRESSES:
        return _address(rng) if right else rng.choice(_BROKEN_TEXT)
    if field not in _TEXTS:
        raise AssertionError(f"the schema has a new text, {field}: say in _TEXTS what people write there")
    written, broken = _TEXTS[field]
    return rng.choice(written if right else broken)


def _address(rng: random.Random) -> str:
    parts = [rng.choice(["dogs", "v1", "a.b", "x" * 60, *_NASTY]) for _ in range(rng.randint(1, 4))]
    ending = rng.choice(["", "", "/", ".h5", ".keras"])
    return "/".join([f"s3://{rng.choice(['models', 'datasets', 'my.bucket-7'])}", *parts]) + ending


def _mend(spec: dict[str, Json], rng: random.Random) -> None:
    """Do what the rules about several fields ask for, which choices made one by one seldom do."""
    serving, training = spec.get("serving", {}), spec.get("training")
    rollout = serving.get("rollout", {})
    if rollout.get("strategy") != "Canary" and rng.random() < 0.9:
        rollout.pop("canary", None)
    if serving.get("runtime") == "TensorFlowServing":
        rollout.get("canary", {}).get("analysis", {}).pop("predictionDrift", None)
    for index, query in enumerate(rollout.get("canary", {}).get("analysis", {}).get("queries", ())):
        query |= {"name": f"query-{index}", "max": 2}
        query.pop("min", None)
    swaps = rollout.get("strategy") in {"Hot", "Canary"} and rollout.get("canary", {}).get("using") != "Rolling"
    if not swaps and rng.random() < 0.9:
        rollout.pop("maxSwaps", None)
    if "canary" in rollout and "autoscaling" not in serving and rng.random() < 0.9:
        serving["replicas"] = 3
    source = spec.get("source", {})
    if not source.get("uri", "").endswith((".h5", ".keras")):
        source.pop("pixelRange", None)
        source.pop("allowCode", None)
    elif "pixelRange" in source:
        source["pixelRange"] = sorted(rng.sample([-1, 0, 0.5, 255], 2))
    if "testData" in source:
        source["testData"]["uri"] = f"s3://test-data/{rng.choice(_NASTY)}"
        if "labels" in source["testData"]:
            source["testData"]["labels"] |= {"fileColumn": "id", "classColumn": "breed"}
        _mend_records(source["testData"], rng)
        _mend_rows(source["testData"], rng)
    for owner in (serving, training or {}):
        for part in owner.get("resources", {}).values():
            part |= {
                name: rng.choice(["1Gi", "2Gi", 2**31]) for name in part if name in {"memory", "ephemeral-storage"}
            }
            part |= {name: rng.choice([1, "500m", "0.25"]) for name in part if name == "cpu"}
            part |= {name: 1 for name in part if "/" in name}
        resources = owner.get("resources", {})
        if "requests" in resources and rng.random() < 0.8:
            resources["limits"] = resources["requests"] | resources.get("limits", {})
            resources["requests"] = {name: resources["limits"][name] for name in resources["requests"]}
    if "autoscaling" in serving:
        serving.pop("replicas", None)
        serving["resources"] = {"requests": {"cpu": "250m"}}
        bounds = serving["autoscaling"]
        _mend_metrics(bounds, rng)
        if bounds.get("minReplicas", 1) > bounds.get("maxReplicas", 5):
            bounds["maxReplicas"] = bounds["minReplicas"]
    if training is None:
        if source.get("testData", {}).get("table", {}).get("targetKind") == "numeric":
            _mend_gates(spec, {"mae", "rmse_high", "r2_low", "loss", "size_mb"}, "r2", rng)
        elif "testData" in source:
            _mend_gates(spec, {"macro_f1", "ece", "size_mb"}, "accuracy", rng)
        else:
            spec.pop("evaluation", None)
        spec.pop("tensorboard", None)
    else:
        data = training["data"]
        data["uri"] = data["uri"].removesuffix(".h5").removesuffix(".keras")
        data |= {part: rng.choice([0.05, 0.2, 0.45]) for part in data if part.endswith("Fraction")}
        # One bucket each, because no part may be, hold or lie in another.
        data |= {part: f"s3://{part.lower()}/{rng.choice(_NASTY)}" for part in data if part.endswith("Uri")}
        if "labels" in data:
            data["labels"] |= {"fileColumn": "id", "classColumn": "breed"}
        _mend_table(training, rng)
        if training.get("architecture") and "table" not in data and data.get("format") != "NPZ":
            data["imageSize"] = rng.choice([[75, 80], [224, 224], [1024, 1024]])
        if changes := training.get("augmentation"):
            changes |= {
                pair: rng.choice([[0.5, 1], [1, 1.5]]) for pair in ("zoomRange", "brightness") if pair in changes
            }
            if "zoomRange" in changes:
                changes.pop("zoom", None)
            changes.pop(rng.choice(["fillMode", "fillValue"]), None)
            if "fillValue" in changes:
                changes |= {"fillMode": "constant", "rotation": 20}
            if "fillMode" in changes:
                changes["shear"] = 10
            if changes.get("mixup") or changes.get("cutmix"):
                training.pop("loss", None)
        _mend_course(training, rng)
        _mend_network(training, rng)
        if "container" in training:
            _mend_container(spec, training, rng)
        measured, usual = {"macro_f1", "loss", *(metric["name"] for metric in training.get("metrics", ()))}, "accuracy"
        if data.get("table", {}).get("targetKind") == "numeric":
            measured, usual = {"loss", "mae", "rmse_high", "r2", "r2_low", "size_mb"}, "r2"
            measured |= {metric["name"] for metric in training.get("metrics", ())}
        _mend_gates(spec, measured, usual, rng)
    spec["store"]["uri"] = f"s3://published/{rng.choice(_NASTY)}/{rng.randint(1, 99)}"


_SOURCES = ("containerResource", "resource", "pods", "object", "external")
_NUMBERS = {"Utilization": "averageUtilization", "AverageValue": "averageValue", "Value": "value"}


def _mend_metrics(bounds: dict[str, Json], rng: random.Random) -> None:
    """Entries whose type, source and target go together; a generated one seldom does."""
    bounds["minReplicas"] = max(1, bounds.get("minReplicas", 1))
    entries = []
    for entry in bounds.get("metrics", ()):
        sources = {name: entry[name] for name in _SOURCES if name in entry}
        for name, source in sources.items():
            target = source["target"]
            number = _NUMBERS[target["type"]]
            value = 80 if number == "averageUtilization" else rng.choice([1, "250m", "1.5Gi", "0.1"])
            # What is compared with a request is CPU, of which there is one below.
            source["target"] = {"type": target["type"], number: value}
            if number == "averageUtilization":
                source["name"] = "cpu"
            entries.append({"type": name[0].upper() + name[1:], name: source})
    if entries:
        bounds["metrics"] = entries[:6]
        bounds.pop("targetCPUUtilization", None)
    else:
        bounds.pop("metrics", None)
    for direction in bounds.get("behavior", {}).values():
        if not direction.get("policies", [0]):
            del direction["policies"]


def _mend_gates(spec: dict[str, Json], measured: set[str], usual: str, rng: random.Random) -> None:
    """Gates with a bound that can be met, of a class, or of what is measured; `usual` in place of what is not."""
    for gate in spec.get("evaluation", {}).get("gates", ()):
        gate.pop("max", None)
        gate.pop("maxDropFromServing", None)
        gate["min"] = rng.choice([0, 0.5, 1])
        gate.pop("class", None)
        if usual == "accuracy" and gate["metric"] in {"precision", "recall", "f1"}:
            gate["class"] = rng.choice(["beagle", "Pembroke Welsh corgi"])
        elif gate["metric"] not in measured:
            gate["metric"] = usual


def _mend_records(test: dict[str, Json], rng: random.Random) -> None:
    """Images that a source is tested on, in records or in folders."""
    if test.get("format") == "TFRecord":
        test["uri"] = test["uri"].removesuffix("/") + rng.choice(["/", ".tfrecord", ".tfrecords.gz"])
        test.pop("labels", None)
    elif rng.random() < 0.9:
        test.pop("records", None)
    if "records" in test:
        test["records"] = {"image": rng.choice(["image", "ü"]), "label": "label"}


def _mend_rows(test: dict[str, Json], rng: random.Random) -> None:
    """Arrays or a table that a source is tested on; images have neither."""
    of_format = {"NPZ": [".npz"], "CSV": ["", "/", ".csv", ".csv.gz"]}.get(test.get("format", ""))
    if of_format is not None:
        test["uri"] = test["uri"].removesuffix("/") + rng.choice(of_format)
        test.pop("maxBadFiles", None)
        test.pop("labels", None)
    if test.get("format") != "CSV":
        test.pop("table", None)
        return
    table = test.setdefault("table", {}) | {"target": "species"}
    test["table"] = table


def _mend_table(training: dict[str, Json], rng: random.Random) -> None:
    """A table or arrays with what learns from it, or images and no word of a table."""
    data = training["data"]
    if data.get("format") == "NPZ" and rng.random() < 0.9:
        data["uri"] = data["uri"].removesuffix("/") + ".npz"
        for field in (
            "table",
            "records",
            "labels",
            "imageSize",
            "colorMode",
            "maxBadFiles",
            "validationUri",
            "testUri",
        ):
            data.pop(field, None)
        if training.get("loss") in _LOSSES_OF_NUMBERS_ALONE:
            training.pop("loss")
        network = training.get("architecture", {})
        network.pop("weights", None)
        if network.get("name") == "MLP":
            for field in ("builder", "augmentation", "normalization", "initialWeights", "trainableLayers"):
                training.pop(field, None)
            return
        for field in ("hiddenUnits", "dropout"):
            network.pop(field, None)
        if network:
            network["name"] = "SmallCNN"
        return
    records = data.get("format") == "TFRecord"
    if records:
        data["uri"] = data["uri"].removesuffix("/") + rng.choice(["/", ".tfrecord", ".tfrecords.gz"])
        data.pop("labels", None)
    if "records" in data:
        data["records"] |= {"image": "image", "label": "label"}
        data.pop(rng.choice(["records", "table"]), None)
    if (not records or "table" not in data) and data.get("format") != "CSV" and rng.random() < 0.9:
        data.pop("table", None)
        if not records:
            data.pop("format", None)
            data.pop("records", None)
        network = training.get("architecture", {})
        for field in ("hiddenUnits", "dropout"):
            network.pop(field, None)
        if network.get("name") == "MLP":
            network["name"] = "SmallCNN"
        if training.get("loss") in _LOSSES_OF_NUMBERS_ALONE:
            training.pop("loss")
        return
    data |= {"format": "TFRecord" if records else "CSV", "table": data.get("table", {}) | {"target": "income"}}
    data.pop("records", None)
    data["table"].pop("numeric", None)
    if not data["table"].get("text"):
        for field in ("maxTokens", "sequenceLength"):
            data["table"].pop(field, None)
    for field in ("labels", "imageSize", "colorMode", "maxBadFiles"):
        data.pop(field, None)
    numeric = data["table"].get("targetKind") == "numeric"
    if numeric:
        for owner, field in ((data, "classWeights"), (training, "labelSmoothing")):
            owner.pop(field, None)
    if training.get("loss") not in {None, *_LOSSES_OF_BOTH}:
        training["loss"] = rng.choice(_LOSSES_OF_NUMBERS if numeric else ["kl_divergence", "categorical_crossentropy"])
    for field in ("builder", "augmentation", "normalization", "initialWeights", "trainableLayers"):
        training.pop(field, None)
    network = training.get("architecture", {})
    network.pop("weights", None)
    training["architecture"] = network | {"name": "MLP"}


def _mend_course(training: dict[str, Json], rng: random.Random) -> None:
    """Let what ends a training, and what it asks of nodes, agree with each other."""
    numeric = training["data"].get("table", {}).get("targetKind") == "numeric"
    for field in ("earlyStopping", "reduceOnPlateau", "stopAt"):
        if field in training:
            of_target = ["mae", "val_mae", "rmse", "val_rmse"] if numeric else ["accuracy", "val_accuracy"]
            training[field]["monitor"] = rng.choice(["loss", "val_loss", *of_target])
    if "earlyStopping" in training:
        training["earlyStopping"] |= {"restoreBestWeights": True, "minDelta": 0.01, "patience": rng.randint(5, 9)}
    if "reduceOnPlateau" in training:
        training["reduceOnPlateau"] |= {"minDelta": 0.01, "patience": rng.randint(1, 4)}
        training["epochs"] = rng.randint(6, 100)
    if "stopAt" in training:
        training["stopAt"]["value"] = rng.choice([0.5, 0.99, 1])
    if "maxDurationSeconds" in training:
        training["maxDurationSeconds"] = rng.randint(1, 59)
    if "nvidia.com/gpu" in training.get("resources", {}).get("limits", {}):
        training.pop("gpusPerWorker", None)
    elif training.get("gpusPerWorker", 0) > 1 and "container" not in training:
        training["gpusPerWorker"] = 1
    if training.get("workers", 1) > 1:
        training.pop("jitCompile", None)
        training["batchSize"] = rng.randint(training["workers"], 64)
    for toleration in training.get("tolerations", ()):
        if toleration.get("operator") == "Exists":
            toleration.pop("value", None)


_NOT_BESIDE_A_CONTAINER = (
    *("architecture", "builder", "initialWeights", "trainableLayers", "fineTuning", "optimizer", "labelSmoothing"),
    *("jitCompile", "mixedPrecision", "augmentation", "normalization", "earlyStopping", "reduceOnPlateau", "stopAt"),
    *("maxDurationSeconds", "checkpoint", "deterministic", "workers"),
)


def _mend_container(spec: dict[str, Json], training: dict[str, Json], rng: random.Random) -> None:
    """An image of a team's own excludes most of what says how to train; else most documents would be refused for it."""
    if rng.random() < 0.7:
        training.pop("container")
        return
    training["container"]["image"] = rng.choice(["net", "a.b:5000/team/net:1.4_x", f"net@sha256:{'0' * 64}"])
    training["data"].pop("classWeights", None)
    spec.pop("tensorboard", None)
    for field in _NOT_BESIDE_A_CONTAINER:
        training.pop(field, None)


def _mend_network(training: dict[str, Json], rng: random.Random) -> None:
    """The same for the network, the weights that it begins with, and its optimizer."""
    if "optimizer" in training:
        optimizer = training["optimizer"]
        kept = {name: optimizer[name] for name in ("learningRate", "weightDecay") if name in optimizer}
        own: dict[str, Json] = rng.choice(
            [{"name": "sgd", "momentum": 0.9, "clipnorm": 1}, {"beta1": 0.5, "amsgrad": True}, {}]
        )
        schedule = {"name": "ExponentialDecay", "decayEpochs": 2, "decayRate": 0.5}
        training["optimizer"] = kept | own | ({"schedule": schedule} if "schedule" in optimizer else {})
        if "schedule" in optimizer:
            training.pop("reduceOnPlateau", None)
    if "metrics" in training:
        training.pop("loss", None)
        some = [{"name": "auc", "curve": "PR"}, {"name": "f1_score", "average": "micro"}, {"name": "precision"}]
        if training["data"].get("table", {}).get("targetKind") == "numeric":
            some = [{"name": "r2_score"}, {"name": "mean_absolute_percentage_error"}, {"name": "log_cosh_error"}]
        training["metrics"] = rng.sample(some, rng.randint(0, 3))
    if "builder" in training:
        training.pop("architecture", None)
        place = rng.choice(["configMapKeyRef", "uri"])
        where = {"configMapKeyRef": {"name": "my-net", "key": "net.py"}, "uri": "s3://models/nets/net.py"}
        others = {name: value for name, value in training["builder"].items() if name not in where}
        training["builder"] = {**others, place: where[place]}
    if training.get("loss") not in {None, *OF_SMOOTH_LABELS}:
        training.pop("labelSmoothing", None)
    for parameter, losses in TAKERS.items():
        if training.get("loss") not in losses:
            training.get("lossParameters", {}).pop(camel(parameter), None)
    if "initialWeights" in training:
        training.get("architecture", {}).pop("weights", None)
        training["initialWeights"] = rng.choice([{"version": 3}, {"uri": _address(rng)}])
    if training.get("architecture", {}).get("weights") == "imagenet":
        training["architecture"]["name"] = "MobileNetV2"
    elif "initialWeights" not in training:
        training.pop("trainableLayers", None)
        training.pop("fineTuning", None)
    if "fineTuning" in training:
        training["fineTuning"] = {"headEpochs": rng.randint(1, 5)}
        training["epochs"] = rng.randint(6, 100)
        training.pop("trainableLayers", None)
        training.get("optimizer", {}).pop("schedule", None)


def _places(value: Json, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of everything in a document."""
    if path:
        yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from _places(inner, (*path, key))


def _break(spec: Json, rng: random.Random) -> None:
    """Make one mistake somewhere."""
    places = list(_places(spec))
    if not places:
        return
    *way, last = rng.choice(places)
    owner = spec
    for step in way:
        owner = owner[step]
    match rng.randint(0, 5):
        case 0:
            owner[last] = copy.deepcopy(rng.choice(_WRONG_TYPES))
        case 1:
            del owner[last]
        case 2 if isinstance(owner, dict):
            owner[f"{last}s"] = owner.pop(last)
        case 3 if isinstance(owner[last], int | float):
            owner[last] = rng.choice([-owner[last], owner[last] * 1000, owner[last] + 0.5, -1, 0, 2**63, 1e300])
        case 4 if isinstance(owner[last], str):
            owner[last] = rng.choice([*_BROKEN_TEXT, *_BROKEN_ENDPOINTS, owner[last] + rng.choice(_NASTY)])
        case _:
            owner[last] = rng.choice([owner[last], [owner[last]], str(owner[last])])

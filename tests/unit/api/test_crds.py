"""The generated CRDs: up to date, small, described, and safe for kubectl and GitOps tools."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from keras_operator.api import KINDS, Kind
from keras_operator.api.generate import drifted, files, main
from keras_operator.api.status import UNSEEN

from tests.cluster.document_tables import says, wrong_changes, wrong_documents

ROOT = Path(__file__).parents[3]
CRDS = {kind.name: yaml.safe_load(files()[f"crds/keras-operator.dev_{kind.plural}.yaml"]) for kind in KINDS}


def schema(kind: Kind) -> dict[str, Any]:
    root: dict[str, Any] = CRDS[kind.name]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return root


def walk(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}")
    if "items" in node:
        yield from walk(node["items"], f"{path}[]")
    if "additionalProperties" in node:
        yield from walk(node["additionalProperties"], f"{path}{{}}")


def rules_in(node: dict[str, Any]) -> list[dict[str, str]]:
    rules: list[dict[str, str]] = node.get("x-kubernetes-validations", [])
    return rules


def test_files_are_what_the_types_say():
    assert drifted(ROOT) == []


def test_check_names_what_drifted(tmp_path, capsys):
    assert main(["--root", str(tmp_path)]) == 0
    assert main(["--check", "--root", str(tmp_path)]) == 0
    (tmp_path / "docs/api.md").write_text("old")
    (tmp_path / "crds/keras-operator.dev_kerasmodels.yaml").unlink()

    assert main(["--check", "--root", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "crds/keras-operator.dev_kerasmodels.yaml is not what the types say" in said
    assert "docs/api.md is not what the types say: run python -m keras_operator.api.generate" in said
    assert "kerasmodelversions" not in said


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_crd_fits_into_an_annotation(kind):
    """`kubectl apply` keeps a copy of the object in an annotation, which may have 262,144 bytes."""
    assert len(msgspec.json.encode(CRDS[kind.name])) < 200_000


def fields(kind: Kind) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Path, schema and parent's schema of every field below spec and status."""
    for path, node in walk(schema(kind)):
        for name, inner in node.get("properties", {}).items():
            if path.startswith((".spec", ".status")):
                yield f"{path}.{name}", inner, node


EXAMPLE = re.compile(r"Example: (.*?)\.(?: Default: .*\.| Required\.)?$")
# What a number counts, or what it is a part or a multiple of.
UNITS = re.compile(
    r"\b(seconds|microseconds|pixels|degrees|bytes|percent|fraction|epochs|pods|images|rows|classes|times"
    r"|number|factor)\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_field_is_described_by_a_sentence_and_an_example(kind):
    assert len(list(fields(kind))) > 60
    for path, node, _ in fields(kind):
        description = node.get("description", "")
        assert re.match(r"[A-Za-z].{5,}[.] Example: ", description), path
        assert EXAMPLE.search(description), path


def fits(example: Any, node: dict[str, Any]) -> bool:
    """Whether an example is of the type, one of the words and within the bounds of its field."""
    if "x-kubernetes-int-or-string" in node:
        return isinstance(example, int | str)
    kinds: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "integer": int,
        "number": (int, float),
    }
    if "x-kubernetes-preserve-unknown-fields" in node:
        return True
    if not isinstance(example, kinds[node["type"]]) or (node["type"] != "boolean" and isinstance(example, bool)):
        return False
    if isinstance(example, dict):
        inner = node.get("properties", {})
        return all(
            fits(value, inner[key]) if key in inner else fits(value, node["additionalProperties"])
            for key, value in example.items()
        )
    if isinstance(example, list):
        return len(example) <= node["maxItems"] and all(fits(value, node["items"]) for value in example)
    if isinstance(example, str):
        return example in node.get("enum", [example]) and len(example) <= node.get("maxLength", len(example))
    return bool(node.get("minimum", example) <= example <= node.get("maximum", example))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_example_is_one(kind):
    for path, node, _ in fields(kind):
        found = EXAMPLE.search(node["description"])
        assert found, path
        assert fits(json.loads(found[1]), node), path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_number_has_a_unit(kind):
    for path, node, _ in fields(kind):
        counted = node["items"] if node.get("type") == "array" else node
        if counted.get("type") in {"integer", "number"}:
            assert UNITS.search(node["description"]), path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_field_says_what_holds_where_it_is_left_out(kind):
    for path, node, parent in fields(kind):
        if path.startswith(".status"):
            continue
        name, description = path.rpartition(".")[2], node["description"]
        if name in parent.get("required", ()):
            assert description.endswith(" Required."), path
        elif "default" in node and not isinstance(node["default"], dict):
            assert description.endswith(f" Default: {json.dumps(node['default'])}."), path
        elif "default" not in node:
            assert "Left out: " in description, path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_nothing_unknown_is_kept_and_nothing_may_be_null(kind):
    for path, node in walk(schema(kind)):
        assert "nullable" not in node, path
        if path in {".spec.training.builder.params{}", ".spec.training.container.params{}"}:
            # Arguments of a team's own program: only that program knows what they may be.
            assert node == {"x-kubernetes-preserve-unknown-fields": True}
            continue
        assert "x-kubernetes-preserve-unknown-fields" not in node, path
        assert "type" in node or "x-kubernetes-int-or-string" in node, path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_everything_that_can_grow_is_bounded(kind):
    for path, node in walk(schema(kind)):
        if not path.startswith((".spec", ".status")):
            continue
        if node.get("type") == "string" and "enum" not in node and "format" not in node:
            assert node.get("maxLength", 0) > 0, path
        if node.get("type") == "array":
            assert node.get("maxItems", 0) > 0, path
        if "additionalProperties" in node:
            assert node.get("maxProperties", 0) > 0, path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_path_of_a_column_exists(kind):
    known = {path.replace("{}", "").replace("[]", "") for path, _ in walk(schema(kind))}
    for column in kind.columns:
        path = re.sub(r'\[\?\(@\.type=="\w+"\)\]', "", column.path)
        parent = path.rpartition(".")[0]
        is_map_entry = any(
            known_path == parent and "additionalProperties" in node for known_path, node in walk(schema(kind))
        )
        assert path in known or is_map_entry or path == ".metadata.creationTimestamp", column


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_rule_ends_in_a_sentence(kind):
    rules = [rule for _, node in walk(schema(kind)) for rule in rules_in(node)]

    assert len(rules) > 5
    for rule in rules:
        assert len(rule["message"]) > 30, rule
        assert len(rule["message"]) < 400, rule
        assert "\n" not in rule["message"], rule


def test_every_rule_has_a_document_that_breaks_it():
    """The sentence is checked there."""
    said = "\n".join(sentence for entry in (*wrong_documents(), *wrong_changes()) for sentence in says(entry))
    rules = {rule["message"]: rule for kind in KINDS for _, node in walk(schema(kind)) for rule in rules_in(node)}

    assert len(rules) > 40
    for message, rule in rules.items():
        # What an expression says ends as its text does, after the last of what is filled in.
        ends = re.split("%[ds]", rule.get("messageExpression", message).split("'.format")[0])[-1]
        assert ends in said, message


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_bounds_are_whole_numbers(kind):
    """The API server cuts `minimum: 0.01` to 0 where it is given a whole number; a rule in CEL compares rightly."""
    for path, node in walk(schema(kind)):
        for bound in ("minimum", "maximum"):
            assert node.get(bound, 0) == int(node.get(bound, 0)), path


def test_the_server_writes_into_a_status_only_that_nobody_has_seen_the_object():
    for kind in KINDS:
        status = dict(schema(kind)["properties"]["status"])
        assert status.pop("default") == UNSEEN
        for path, node in walk(status):
            assert "default" not in node, path


def test_conditions_are_merged_by_type():
    for kind in KINDS:
        conditions = schema(kind)["properties"]["status"]["properties"]["conditions"]
        assert conditions["x-kubernetes-list-type"] == "map"
        assert conditions["x-kubernetes-list-map-keys"] == ["type"]
        assert conditions["items"]["required"] == [
            "type",
            "status",
            "reason",
            "message",
            "lastTransitionTime",
            "observedGeneration",
        ]


def test_scale_path_holds_a_defaulted_integer():
    """`kubectl get --subresource scale` and autoscalers fail where the path may be empty."""
    replicas = schema(KINDS[0])["properties"]["spec"]["properties"]["serving"]["properties"]["replicas"]

    assert (replicas["type"], replicas["default"]) == ("integer", 1)
    assert schema(KINDS[0])["properties"]["spec"]["properties"]["serving"]["default"] == {}


def test_reference_names_every_field():
    text = files()["docs/api.md"]
    for kind in KINDS:
        for path, _ in walk(schema(kind)):
            name = path.rpartition(".")[2].rstrip("[]{}")
            if path.startswith((".spec.", ".status.")) and name:
                assert f"`{name}`" in text, path

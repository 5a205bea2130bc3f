import pytest

from devcluster import build
from devcluster.pins import PINS, build_key, required_version
from devcluster.places import Places, cluster_name

BY_NAME = {pin.name: pin for pin in PINS}


def test_every_pin_names_a_version_in_its_go_mod():
    versions = {name: pin.version() for name, pin in BY_NAME.items() if name != "pause"}
    assert versions["kubernetes"] == "v1.36.3"
    assert all(version.startswith("v") for version in versions.values())


def test_all_staging_modules_follow_kubernetes():
    text = (BY_NAME["kubernetes"].directory / "go.mod").read_text()
    replaced = [line.split()[-1] for line in text.splitlines() if "=>" in line]
    assert set(replaced) == {BY_NAME["kubernetes"].version().replace("v1.", "v0.", 1)}
    assert len(replaced) == 33


def test_kubernetes_is_linked_with_its_version():
    flags = BY_NAME["kubernetes"].ldflags()
    assert "-X k8s.io/component-base/version.gitVersion=v1.36.3" in flags
    assert "-X k8s.io/component-base/version.gitMinor=36" in flags


def test_minio_is_linked_with_the_time_of_its_pseudo_version():
    assert "cmd.Version=2026-02-12T20:18:48Z" in BY_NAME["minio"].ldflags()


@pytest.mark.parametrize(
    ("go_mod", "expected"),
    [
        pytest.param("require example.com/a v1.2.3", "v1.2.3", id="one line"),
        pytest.param("require (\n\texample.com/a v1.2.3 // indirect\n)", "v1.2.3", id="block"),
        pytest.param("require example.com/ab v1.2.3", "", id="another module with the same beginning"),
    ],
)
def test_the_version_is_read_from_go_mod(go_mod, expected):
    assert required_version(go_mod, "example.com/a") == expected


def test_programs_on_demand_are_built_only_by_name(tmp_path, monkeypatch):
    places, made = Places(cache=tmp_path, tree=tmp_path), []
    monkeypatch.setattr(build, "_build", lambda _, pin: made.append(pin.name))
    build.build_all(places)
    assert made == [pin.name for pin in PINS if not pin.on_demand]
    made.clear()
    build.build_all(places, ["kstatus"])
    assert made == ["kstatus"]


def test_a_build_key_tells_apart_what_concatenation_would_not():
    assert build_key([b"ab", b"c"]) != build_key([b"a", b"bc"])
    assert build_key([b"ab", b"c"]) == build_key([b"ab", b"c"])


def test_clones_at_different_paths_have_different_states(tmp_path):
    one, two = (Places(cache=tmp_path, tree=tmp_path / name) for name in ("one", "two"))
    assert one.state != two.state
    assert cluster_name(tmp_path / "one") == one.name
    assert len(one.name) == 8

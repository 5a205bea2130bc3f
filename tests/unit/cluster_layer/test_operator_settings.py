"""The command line and the environment."""

from __future__ import annotations

from pathlib import Path

import pytest
from keras_operator.settings import parse

IMAGES = ["--trainer-image=trainer:1", "--server-image=server:1"]


def test_images_are_enough():
    settings = parse(IMAGES, {})
    assert (settings.trainer_image, settings.trainer_gpu_image) == ("trainer:1", "")
    assert (settings.workers, settings.probe_port, settings.leader_elect, settings.log_format) == (
        20,
        8081,
        True,
        "json",
    )
    assert settings.namespaces == ()


def test_the_command_may_be_named():
    assert parse(["run", *IMAGES], {}) == parse(IMAGES, {})


def test_the_environment_sets_what_flags_set_and_a_flag_wins():
    environment = {
        "KERAS_OPERATOR_TRAINER_IMAGE": "from-env:1",
        "KERAS_OPERATOR_SERVER_IMAGE": "server:1",
        "KERAS_OPERATOR_WORKERS": "7",
        "KERAS_OPERATOR_NAMESPACES": "vision, speech ,vision",
        "KERAS_OPERATOR_LEADER_ELECT": "false",
        "KERAS_OPERATOR_LOG_FORMAT": "console",
    }
    settings = parse([], environment)
    assert settings.workers == 7
    assert settings.namespaces == ("vision", "speech")
    assert settings.leader_elect is False
    assert settings.trainer_image == "from-env:1"
    assert settings.log_format == "console"
    assert parse(["--workers=9", "--leader-elect"], environment).workers == 9
    assert parse(["--workers=9", "--leader-elect"], environment).leader_elect is True


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        ([], {}, "--trainer-image and --server-image not given"),
        (["--trainer-image=t"], {}, "--server-image not given"),
        ([*IMAGES, "--workers=0"], {}, "'0' is not a whole number from 1 to 1000"),
        ([*IMAGES, "--workers=many"], {}, "'many' is not a whole number"),
        (IMAGES, {"KERAS_OPERATOR_WORKERS": "many"}, "'many' is not a whole number"),
        ([*IMAGES, "--resync=-1"], {}, "'-1' is not a number of seconds above 0"),
        ([*IMAGES, "--resync=nan"], {}, "'nan' is not a number of seconds"),
        ([*IMAGES, "--namespaces=Vision"], {}, "'Vision' is not a name"),
        ([*IMAGES, "--log-format=xml"], {}, "'xml' is not one of json, console"),
        ([*IMAGES, "--templates=/no/such/folder"], {}, "'/no/such/folder' is not a folder"),
        (IMAGES, {"KERAS_OPERATOR_LEADER_ELECT": "perhaps"}, "write true or false"),
        (
            [*IMAGES, "--prometheus-url=prometheus:9090"],
            {},
            "'prometheus:9090' is not an address such as http://prometheus.monitoring:9090, without user, password",
        ),
        ([*IMAGES, "--prometheus-url=file:///etc"], {}, "'file:///etc' is not an address"),
        ([*IMAGES, "--prometheus-url=http://a:b@c"], {}, "'http://…@c' is not an address"),
        ([*IMAGES, "--prometheus-url=http://a/?query=up"], {}, "is not an address"),
        ([*IMAGES, "--prometheus-url=http://a:99999"], {}, "is not an address"),
        (IMAGES, {"KERAS_OPERATOR_PROMETHEUS_URL": "http://"}, "'http://' is not an address"),
        ([*IMAGES, "--prometheus-url=http://a", "--prometheus-token-file=/no/such"], {}, "'/no/such' is not a file"),
        ([*IMAGES, "--prometheus-ca-file=/etc/passwd"], {}, "--prometheus-ca-file is given, and --prometheus-url is"),
        ([*IMAGES, "--colour"], {}, "unrecognized arguments: --colour"),
    ],
)
def test_what_cannot_work_is_refused_with_a_sentence(arguments, environment, sentence, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse(arguments, environment)
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_folder_of_templates_is_taken(tmp_path: Path):
    assert parse([*IMAGES, f"--templates={tmp_path}"], {}).templates == tmp_path


def test_where_prometheus_is(tmp_path: Path):
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    for file in (token, authority):
        file.touch()
    files = [f"--prometheus-token-file={token}", f"--prometheus-ca-file={authority}"]
    settings = parse([*IMAGES, "--prometheus-url=https://[fd00::1]:9090/tenant/a", *files], {})
    assert settings.prometheus_url == "https://[fd00::1]:9090/tenant/a"
    assert (settings.prometheus_token_file, settings.prometheus_ca_file) == (token, authority)
    assert parse(IMAGES, {}).prometheus_url is None

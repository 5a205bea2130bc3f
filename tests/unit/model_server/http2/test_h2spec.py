"""HTTP/2's and HPACK's rules, as the conformance tests of https://github.com/summerwind/h2spec know them."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET

from devcluster.build import binary, build_all
from devcluster.places import here

# Of all cases; fewer would mean that it had not looked.
_CASES = 145


def test_the_grpc_port_keeps_to_http2(grpc_server, tmp_path):
    build_all(here(), ["h2spec"])
    report = tmp_path / "report.xml"
    command = [str(binary(here(), "h2spec")), "generic", "http2", "hpack", f"--port={grpc_server.grpc_port}"]
    options = ["--path=/grpc.health.v1.Health/Check", "--timeout=5", f"--junit-report={report}"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, timeout=280)
    cases = list(ET.parse(report).iter("testcase"))
    assert len(cases) == _CASES, done.stdout
    wrong = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    assert not wrong, done.stdout

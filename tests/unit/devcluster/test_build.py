import os
import subprocess
import sys
from pathlib import Path

from devcluster import processes

_BUILD = """
import sys
from pathlib import Path
from devcluster.build import build_all
from devcluster.places import Places
build_all(Places(cache=Path(sys.argv[1]), tree=Path(sys.argv[1]) / "tree"), ["etcd"])
"""
_COMPILER = "#!/bin/sh\necho $$ > {pid}.new && mv {pid}.new {pid}\nexec sleep 60\n"


def test_a_compiler_does_not_outlive_the_command_that_started_it(tmp_path):
    pid_file, go = tmp_path / "pid", tmp_path / "go"
    go.write_text(_COMPILER.format(pid=pid_file))
    go.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    building = subprocess.Popen(
        [sys.executable, "-c", _BUILD, str(tmp_path / "cache")], env={**os.environ, "PATH": path}, cwd=Path.cwd()
    )
    assert processes.until(pid_file.exists, 20)
    compiler = Path("/proc", pid_file.read_text().strip())
    assert compiler.exists()

    building.kill()
    building.wait()

    assert processes.until(lambda: not compiler.exists() or " Z " in (compiler / "stat").read_text(), 10)

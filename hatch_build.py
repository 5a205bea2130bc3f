"""Builds the compiled modules, in C++, for the wheel and for an editable install."""

from __future__ import annotations

import sysconfig
import tempfile
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError

# The modules use the stable ABI alone: built once, they work with this Python and later ones.
_STABLE_SINCE = "cp311"
_FOLDER = "model_server/runtime"
_MODULES = [
    Extension(
        f"model_server.runtime.{name}",
        [f"{_FOLDER}/{name}.cpp"],
        language="c++",
        py_limited_api=True,
        extra_compile_args=["-std=c++17", "-O3", "-fvisibility=hidden", "-Wall", "-Wextra"],
        # Of the C++ library only what is used, so that the modules need none where they run.
        extra_link_args=["-static-libstdc++", "-static-libgcc", "-Wl,--exclude-libs,ALL", "-Wl,--gc-sections", "-s"],
    )
    for name in ("_number_lists", "_tensors")
]


class CompiledModules(BuildHookInterface[Any]):
    """Compiles beside the source, where an editable install looks for it, and takes the result into a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Raises RuntimeError when there is no compiler, or Python's headers are missing."""
        with tempfile.TemporaryDirectory() as folder:
            self._compile(folder)
        build_data["artifacts"].append(f"/{_FOLDER}/*.so")
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"{_STABLE_SINCE}-abi3-{platform}"

    def _compile(self, folder: str) -> None:
        command = build_ext(Distribution({"name": self.metadata.name, "ext_modules": _MODULES}))
        command.inplace = True
        command.build_temp = folder
        command.ensure_finalized()
        try:
            command.run()
        except CCompilerError as error:
            headers = sysconfig.get_path("include")
            msg = (
                f"{_FOLDER}/*.cpp could not be compiled: {error}. It takes a C++17 compiler and Python's headers in "
                f"{headers}; on Debian: apt-get install g++ python3-dev"
            )
            raise RuntimeError(msg) from error

"""Build of the native module: every CPU operator once per instruction set, by ninja, without torch."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import ninja
import pybind11
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
#: Compiled once per instruction set; everything else in csrc/ once.
PER_LEVEL = ("solve", "adjoint", "train_epoch", "prior_terms", "table")
ONCE = ("cpu/dispatch", "cpu/select", "bindings")
X86_LEVELS = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma", "-DDASH_VECTOR_BYTES=32"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma",
               "-mprefer-vector-width=512", "-DDASH_VECTOR_BYTES=64"],
}  # fmt: skip


def build_parameters() -> dict[str, list[str]]:
    """Flags, in one place: common ones and those of each instruction set (the compiler's baseline elsewhere)."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    common = [
        "-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden",
        "-Wall", "-Wextra", "-Wno-psabi", "-Wno-ignored-attributes",
        "-Wno-maybe-uninitialized",  # GCC 12's own AVX-512 headers set it off
        # neither changes a result: errno and floating-point traps are not used
        "-fno-math-errno", "-fno-trapping-math",
        f"-I{pybind11.get_include()}", f"-I{sysconfig.get_path('include')}",
    ]  # fmt: skip
    if x86:
        common.append("-DDASH_WITH_X86_LEVELS")
    return {"common": common, **(X86_LEVELS if x86 else {"baseline": []})}


class NinjaBuild(build_ext):
    """Write a build.ninja and run it."""

    def build_extension(self, ext: Extension) -> None:
        flags = build_parameters()
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(self.build_temp).resolve()
        work.mkdir(parents=True, exist_ok=True)
        compiler = os.environ.get("CXX", "c++")
        lines = [
            f"cxx = {compiler}",
            f"common = {' '.join(flags.pop('common'))}",
            "rule compile",
            "  command = $cxx $common $flags -MMD -MF $out.d -c $in -o $out",
            "  depfile = $out.d",
            "  deps = gcc",
            "rule link",
            "  command = $cxx -shared $in -o $out",
        ]
        objects = []

        def compile_one(source: str, name: str, extra: list[str]) -> None:
            objects.append(f"{name}.o")
            lines.append(f"build {name}.o: compile {ROOT / 'csrc' / source}.cpp")
            lines.append(f"  flags = {' '.join(extra)}")

        # The lowest level is linked first: where the compiler emits a shared inline function, that copy wins.
        for source in ONCE:
            compile_one(source, source.replace("/", "_"), [])
        for level, extra in flags.items():
            for source in PER_LEVEL:
                compile_one(f"cpu/{source}", f"{level}_{source}", [f"-DDASH_ISA={level}", *extra])
        lines += [f"build {target}: link {' '.join(objects)}", f"default {target}", ""]
        (work / "build.ninja").write_text("\n".join(lines))
        subprocess.run([str(Path(ninja.BIN_DIR) / "ninja"), "-C", str(work)], check=True, stdout=sys.stderr)


class WithTemplates(build_py):
    """Put the batch templates of slurm/ into the package; a source tree uses them where they are."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "dash_hpc" / "slurm"
            target.mkdir(parents=True, exist_ok=True)
            for source in sorted((ROOT / "slurm").iterdir()):
                shutil.copy2(source, target)


native = os.environ.get("DASH_HPC_NATIVE", "1") != "0"
setup(
    ext_modules=[Extension("dash_hpc._native", sources=[])] if native else [],
    cmdclass={"build_ext": NinjaBuild, "build_py": WithTemplates},
)

"""Build of the native modules by ninja, without torch: every CPU operator once per instruction set; the CUDA operators
when nvcc is found; in a source tree also the CUDA kernels' source as C++, which tests run.

DASH_HPC_NATIVE=0 builds nothing. DASH_HPC_CUDA=0 leaves the CUDA module out, 1 makes its absence an error, auto (the
default) builds it when there is an nvcc (DASH_HPC_NVCC, CUDA_HOME/bin, PATH, /usr/local/cuda/bin). DASH_HPC_CUDA_ARCHS
is a list of compute capabilities ("80 90"); the last one is also kept as PTX for newer devices. In a source tree nvcc's
warnings are errors; DASH_HPC_WARNINGS=allow lets them pass, for compilers that warn of more. DASH_HPC_SANITIZE=1 builds
with the address and undefined-behaviour sanitizers, apart from all else in build/sanitize (`make sanitize`).
"""

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
CSRC = ROOT / "csrc"


def sources(pattern: str) -> list[str]:
    """Files of csrc/ that match, without their suffix, as csrc/ names them."""
    return sorted(str(path.relative_to(CSRC).with_suffix("")) for path in CSRC.glob(pattern))


#: Compiled once per instruction set: the operators. Everything else of the CPU module once.
PER_LEVEL = sources("cpu/ops/*.cpp")
ONCE = [*sources("cpu/*.cpp"), *sources("python/*.cpp")]
X86_LEVELS = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma", "-DDASH_VECTOR_BYTES=32"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma",
               "-mprefer-vector-width=512", "-DDASH_VECTOR_BYTES=64"],
}  # fmt: skip
#: The CUDA module: the operators' kernels, which nvcc compiles, and what the host's compiler does; in the emulation it
#: does both.
CUDA_KERNELS = sources("cuda/ops/*.cu")
CUDA_HOST = [name for name in (*sources("cuda/*.cpp"), *sources("cuda/ops/*.cpp")) if name != "cuda/emulate"]
CUDA_ARCHITECTURES = ("80", "90")

SANITIZE = os.environ.get("DASH_HPC_SANITIZE", "0") == "1"
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]

IN_PLACE = bool({"editable_wheel", "--inplace", "develop"}.intersection(sys.argv))


def build_parameters() -> dict[str, list[str]]:
    """Flags, in one place: common ones and those of each instruction set (the compiler's baseline elsewhere)."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    common = [
        "-std=c++17", *(["-O1", "-g", *SANITIZERS] if SANITIZE else ["-O3"]), "-fPIC", "-fvisibility=hidden",
        "-Wall", "-Wextra", "-Wno-psabi", "-Wno-ignored-attributes",
        "-Wno-maybe-uninitialized",  # GCC 12's own AVX-512 headers set it off
        # neither changes a result: errno and floating-point traps are not used
        "-fno-math-errno", "-fno-trapping-math",
        f"-I{pybind11.get_include()}", f"-I{sysconfig.get_path('include')}",
    ]  # fmt: skip
    if x86:
        common.append("-DDASH_WITH_X86_LEVELS")
    return {"common": common, **(X86_LEVELS if x86 else {"baseline": []})}


def find_nvcc() -> str | None:
    """Path of nvcc, or None when there is none or DASH_HPC_CUDA=0."""
    wish = os.environ.get("DASH_HPC_CUDA", "auto")
    if wish not in ("auto", "0", "1"):
        sys.exit(f"DASH_HPC_CUDA must be auto, 0 or 1, got {wish!r}")
    if wish == "0":
        return None
    places = [
        os.environ.get("DASH_HPC_NVCC"),
        *(f"{os.environ[k]}/bin/nvcc" for k in ("CUDA_HOME",) if k in os.environ),
    ]
    places += [shutil.which("nvcc"), "/usr/local/cuda/bin/nvcc"]
    found = next((place for place in places if place and os.access(place, os.X_OK)), None)
    if found is None and wish == "1":
        sys.exit("DASH_HPC_CUDA=1 but there is no nvcc: set DASH_HPC_NVCC or CUDA_HOME, or put it in PATH")
    return found


def cuda_architectures(nvcc: str) -> list[str]:
    """DASH_HPC_CUDA_ARCHS, or those of the default set that this nvcc knows."""
    wish = os.environ.get("DASH_HPC_CUDA_ARCHS", "").replace(",", " ").replace(";", " ").replace(".", "").split()
    asked = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=False)
    known = [line.strip().removeprefix("compute_") for line in asked.stdout.splitlines() if "compute_" in line]
    if wish:
        unknown = [name for name in wish if known and name not in known]
        if unknown:
            sys.exit(f"DASH_HPC_CUDA_ARCHS: {nvcc} has no {', '.join(unknown)}; it has {', '.join(known)}")
        return wish
    chosen = [name for name in CUDA_ARCHITECTURES if not known or name in known]
    return chosen or known[-1:]


class NinjaBuild(build_ext):
    """Write one build.ninja for all modules and run it."""

    def build_extensions(self) -> None:
        self.work = Path(self.build_temp).resolve()
        self.work.mkdir(parents=True, exist_ok=True)
        self.lines: list[str] = []
        self.targets: list[Path] = []
        for extension in self.extensions:
            target = Path(self.get_ext_fullpath(extension.name)).resolve()
            target.parent.mkdir(parents=True, exist_ok=True)
            {"_native": self._cpu, "_native_cuda": self._cuda, "_cuda_emulation": self._emulation}[
                extension.name.rpartition(".")[2]
            ](target)
            self.targets.append(target)
        flags = build_parameters()
        rules = [
            f"cxx = {os.environ.get('CXX', 'c++')}",
            f"common = {' '.join(flags['common'])}",
            "rule compile",
            "  command = $cxx $common $flags -MMD -MF $out.d -c $in -o $out",
            "  depfile = $out.d",
            "  deps = gcc",
            "rule link",
            f"  command = $cxx -shared {' '.join(SANITIZERS) if SANITIZE else ''} $in -o $out",
        ]
        text = [*rules, *self.lines, f"default {' '.join(map(str, self.targets))}", ""]
        (self.work / "build.ninja").write_text("\n".join(text))
        subprocess.run([str(Path(ninja.BIN_DIR) / "ninja"), "-C", str(self.work)], check=True, stdout=sys.stderr)

    def _compile(self, source: str, name: str, extra: list[str], rule: str = "compile") -> str:
        self.lines += [f"build {name}.o: {rule} {ROOT / 'csrc' / source}", f"  flags = {' '.join(extra)}"]
        return f"{name}.o"

    def _cpu(self, target: Path) -> None:
        flags = build_parameters()
        flags.pop("common")
        # The lowest level is linked first: where the compiler emits a shared inline function, that copy wins.
        objects = [self._compile(f"{source}.cpp", source.replace("/", "_"), []) for source in ONCE]
        for level, extra in flags.items():
            objects += [
                self._compile(f"{source}.cpp", f"{level}_{Path(source).name}", [f"-DDASH_ISA={level}", *extra])
                for source in PER_LEVEL
            ]
        self.lines.append(f"build {target}: link {' '.join(objects)}")

    def _cuda(self, target: Path) -> None:
        nvcc = find_nvcc() or "nvcc"
        names = cuda_architectures(nvcc)
        codes = [f"-gencode=arch=compute_{name},code=sm_{name}" for name in names]
        codes.append(f"-gencode=arch=compute_{names[-1]},code=compute_{names[-1]}")
        what = "-DDASH_CUDA_ARCHITECTURES='\"" + ", ".join(f"sm_{name}" for name in names) + "\"'"
        strict = "-Werror=all-warnings" if IN_PLACE and os.environ.get("DASH_HPC_WARNINGS") != "allow" else ""
        self.lines += [
            f"nvcc = {nvcc}",
            "rule nvcc",
            f"  command = $nvcc -ccbin $cxx -std=c++17 -O3 {strict} -Xptxas -v {' '.join(codes)} $flags"
            " --compiler-options=-fPIC,-fvisibility=hidden,-Wall,-Wextra -MD -MF $out.d -c $in -o $out"
            " > $out.log 2>&1 || { cat $out.log; false; }",
            "  depfile = $out.d",
            "  deps = gcc",
            "rule nvlink",  # static runtime: the module loads where there is neither toolkit nor driver
            "  command = $nvcc -ccbin $cxx -shared -cudart static $in -o $out",
            "rule resources",
            f"  command = {sys.executable} {ROOT / 'csrc/cuda/resources.py'} $out $in",
        ]
        kernels = [
            self._compile(f"{name}.cu", f"cuda_{Path(name).name}", [what], "nvcc")
            for name in (*CUDA_KERNELS, "cuda/device")
        ]
        host = [self._compile(f"{name}.cpp", f"cuda_host_{Path(name).name}", [what]) for name in CUDA_HOST]
        self.lines += [
            f"build cuda_resources.cpp: resources {' '.join(kernels)}",
            "build cuda_resources.o: compile cuda_resources.cpp",
            f"build {target}: nvlink {' '.join([*kernels, *host, 'cuda_resources.o'])}",
        ]

    def _emulation(self, target: Path) -> None:
        objects = [
            self._compile(f"{name}.cpp", f"emulation_{Path(name).name}", ["-DDASH_CUDA_EMULATION"])
            for name in (*CUDA_HOST, "cuda/emulate")
        ]
        objects += [
            self._compile(f"{name}.cu", f"emulation_kernel_{Path(name).name}", ["-DDASH_CUDA_EMULATION", "-x c++"])
            for name in CUDA_KERNELS
        ]
        self.lines.append(f"build {target}: link {' '.join(objects)}")


class WithTemplates(build_py):
    """Put the batch templates of slurm/ into the package; a source tree uses them where they are."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "dash_hpc" / "slurm"
            target.mkdir(parents=True, exist_ok=True)
            for source in sorted((ROOT / "slurm").iterdir()):
                shutil.copy2(source, target)


def modules() -> list[str]:
    """Which native modules to build."""
    if os.environ.get("DASH_HPC_NATIVE", "1") == "0":
        return []
    emulation = os.environ.get("DASH_HPC_CUDA_EMULATION", "1" if IN_PLACE or SANITIZE else "0") != "0"
    return ["_native"] + ["_native_cuda"] * (find_nvcc() is not None) + ["_cuda_emulation"] * emulation


setup(
    ext_modules=[Extension(f"dash_hpc.{name}", sources=[]) for name in modules()],
    cmdclass={"build_ext": NinjaBuild, "build_py": WithTemplates},
    options={"build": {"build_base": "build/sanitize"}} if SANITIZE else {},
)

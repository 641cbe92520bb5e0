"""The table of operators, and what is derived from it or written by hand after it."""

from __future__ import annotations

import inspect
import re
import runpy
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import BACKENDS

from hmimo_fast import kernels
from hmimo_fast.kernels import definitions, edge, jit
from hmimo_fast.kernels.definitions.problem import room
from hmimo_fast.kernels.operators import ARGUMENTS, MOST_RECORDED, OPERATORS, SIZES

ROOT = Path(__file__).parent.parent
HEADER = ROOT / "hmimo_fast/include/hmimo_fast.h"
NEEDS_C = pytest.mark.skipif("native" not in BACKENDS, reason="built without a compiler")


def test_every_name_of_the_table_is_known_and_used() -> None:
    used = {name for op in OPERATORS.values() for name in (*op.inputs, *op.outputs)}
    assert used == set(ARGUMENTS)
    letters = {
        letter for op in OPERATORS.values() for core in op.inputs.values() for letter in core
    }
    assert letters | {"I"} == set("".join(SIZES))
    for op in OPERATORS.values():
        assert set(op.work) <= letters
        assert all(
            option.checked(option.default) == option.default for option in op.options.values()
        )


def test_the_names_and_the_typed_functions_are_those_of_the_table() -> None:
    """As csrc/typed.py writes them."""
    for path, text in runpy.run_path(str(ROOT / "csrc/typed.py"))["texts"]().items():
        assert path.read_text() == text, f"run python csrc/typed.py to write {path.name}"


def test_the_headers_are_cplusplus_too(tmp_path: Path) -> None:
    """Without a warning, and with the names that the C kernels have."""
    compiler = shutil.which("c++")
    if not compiler or not (ROOT / "csrc").exists():
        pytest.skip("no C++ compiler, or no sources")
    source = tmp_path / "own.cpp"
    source.write_text('#include "hmimo_fast_typed.h"\nint own() { return hf_abi(); }\n')
    command = [compiler, "-Wall", "-Wextra", "-Werror", "-S", f"-I{HEADER.parent}", str(source)]
    subprocess.run([*command, "-o", str(tmp_path / "own.s")], check=True)
    assert re.search(r"\bhf_abi\b", (tmp_path / "own.s").read_text())


@pytest.mark.parametrize("name", OPERATORS)
def test_a_definition_has_the_arguments_of_its_operator(name: str) -> None:
    op = OPERATORS[name]
    expected = [*op.inputs, *op.options]
    assert list(inspect.signature(getattr(definitions, name)).parameters) == expected
    for function in (getattr(jit, name), getattr(jit, f"native_{name}")):
        assert list(inspect.signature(function.py_func).parameters) == expected


@NEEDS_C
def test_the_c_kernels_are_of_this_table() -> None:
    from hmimo_fast.kernels import native

    assert len(OPERATORS) == native.COUNT
    assert jit._ABI == native.ABI
    assert f"#define HF_ABI {native.ABI}\n" in HEADER.read_text()


def problem(users: int, feeds: int, floored: bool) -> tuple[object, ...]:
    rng = np.random.default_rng([users, feeds])
    channel = rng.normal(size=(5, 2, users, 9, 2)).view(complex)[..., 0]
    phase = np.exp(1j * rng.normal(size=(1, 9, feeds)))
    floors = rng.uniform(0.0, 1.0, (5, users)) if floored else None
    return channel, rng.uniform(size=(5, 9)), phase, 1.5, 0.2, rng.uniform(size=(5, users)), floors


@pytest.mark.parametrize("floored", [False, True])
@pytest.mark.parametrize("general", [False, True])
@pytest.mark.parametrize("radiated", [False, True])
@pytest.mark.parametrize(("users", "feeds"), [(3, 4), (4, 4), (4, 2), (1, 1)])
def test_best_beams_are_a_projection_that_stays(
    backend: str, users: int, feeds: int, radiated: bool, general: bool, floored: bool
) -> None:
    """At the amplitudes that `variable_projection` ends with when no step pays."""
    given = problem(users, feeds, floored)
    options = {"radiated": radiated, "sweeps": 4}
    stay = {"zf_iterations": 0, "iterations": int(general), "tolerance": 1e300}
    with kernels.backend(backend):
        amplitudes, *expected = edge.call("variable_projection", given, options | stay)[:3]
        found = edge.call("best_beams", given, options | {"general": general})
    np.testing.assert_array_equal(amplitudes, given[1])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_no_history_is_longer_than_what_is_recorded() -> None:
    assert len(room(10**9)) == MOST_RECORDED


def test_each_definition_stands_beside_its_c_twin() -> None:
    """File for file: no formula of the C kernels is without a NumPy file of the same name."""
    root = Path(definitions.__file__).parents[3]
    twins = {file.stem for file in Path(definitions.__file__).parent.glob("[a-z]*.py")}
    sources = {file.name.removesuffix(".inc.h") for file in (root / "csrc").glob("*.inc.h")}
    if not sources:
        pytest.skip("an installed package has no C sources")
    assert twins == sources

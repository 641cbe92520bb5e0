"""The parts of a release agree: versions, recipe, workflows, links."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from setuptools.dist import Distribution

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")
yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
if not WORKFLOWS:
    pytest.skip("an sdist has no workflows", allow_module_level=True)


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def floors(requirements: list[str]) -> dict[str, str]:
    """The least version of each package, under the name it has on PyPI."""
    known = {"matplotlib-base": "matplotlib", "pytorch": "torch"}
    found = {}
    for requirement in requirements:
        name, floor = re.fullmatch(r"([\w-]+)(?: ?>=([\d.]+))?", requirement).groups()
        found[known.get(name, name).lower()] = floor
    return found


def jobs(path: Path) -> list[dict[str, Any]]:
    return list(load(path)["jobs"].values())


def test_versions_agree() -> None:
    version = PROJECT["project"]["version"]
    assert load(ROOT / "CITATION.cff")["version"] == version
    assert load(ROOT / "recipe" / "recipe.yaml")["context"]["version"] == version
    headings = re.findall(r"^## ([\d.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == version


def test_recipe_asks_for_what_the_project_does() -> None:
    """NumPy comes with its own pin there, by what it was built with."""
    recipe, project = load(ROOT / "recipe" / "recipe.yaml"), PROJECT["project"]
    asked = recipe["requirements"]
    run = floors([name for name in asked["run"] if name != "python"])
    assert run == {k: v for k, v in floors(project["dependencies"]).items() if k != "numpy"}
    host = floors([name for name in asked["host"] if name not in ("python", "pip", "numpy")])
    needed = floors(PROJECT["build-system"]["requires"])
    assert host == {name: floor for name, floor in needed.items() if name != "numpy"}
    extras = project["optional-dependencies"]
    known = floors(extras["nn"] + extras["cli"] + extras["io"])
    assert floors(asked["run_constraints"]).items() <= known.items()
    (script,) = project["scripts"].items()
    assert recipe["build"]["python"]["entry_points"] == [" = ".join(script)]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_name_what_exists(path: Path) -> None:
    """Files, extras and pinned tools; nothing may write but the jobs that say so."""
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    for job in jobs(path):
        for line in filter(None, (step.get("run") for step in job["steps"])):
            words = shlex.split(line)
            if words[0].startswith("."):
                assert os.access(ROOT / words[0], os.X_OK)
            elif words[:4] == ["python", "-m", "pip", "install"]:
                assert words[4:6] == ["-c", "constraints.txt"]
                wanted = [word for word in words[6:] if word != "-e"]
                for word in wanted:
                    extras = re.fullmatch(r"\.\[([\w,]+)\]", word)
                    assert word in pinned or extras
                    for extra in extras[1].split(",") if extras else ():
                        assert extra in PROJECT["project"]["optional-dependencies"]
            elif words[0] == "python" and words[1] != "-m":
                assert (ROOT / words[1]).is_file()
            else:
                assert words[:2] in (["python", "-m"], ["sudo", "apt-get"])


def test_oldest_and_newest_python_are_tested() -> None:
    _, elsewhere, _ = jobs(ROOT / ".github" / "workflows" / "tests.yml")
    tested = elsewhere["strategy"]["matrix"]["python"]
    low, high = re.fullmatch(
        r"cp3(\d)\[0-(\d)\]-\*", PROJECT["tool"]["cibuildwheel"]["build"]
    ).groups()
    assert tested == [f"3.{low}0", f"3.{low}{high}"]
    assert PROJECT["project"]["requires-python"] == f">={tested[0]}"


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["actionlint", "check-jsonschema"])
def test_workflows_are_valid(tool: str) -> None:
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"{tool} is not installed")
    how = ["--builtin-schema", "vendor.github-workflows"] if tool == "check-jsonschema" else []
    subprocess.run([found, *how, *WORKFLOWS], check=True)


@pytest.mark.slow
def test_windows_wheels_are_compiled_by_zig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings lead to setuptools' MinGW, and its flags reach zig in zig's spelling."""
    windows = PROJECT["tool"]["cibuildwheel"]["windows"]
    monkeypatch.setenv("DIST_EXTRA_CONFIG", str(ROOT / windows["environment"]["DIST_EXTRA_CONFIG"]))
    settings = Distribution()
    settings.parse_config_files()
    assert settings.command_options["build_ext"]["compiler"][1] == "mingw32"
    (tmp_path / "ziglang.py").write_text("import sys\nprint(*sys.argv[1:])\nsys.exit(3)\n")
    _, script = windows["environment"]["CC"].split()
    outcome = subprocess.run(
        [sys.executable, ROOT / script, "-march=x86-64-v3", "-c", "kernels.c"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert outcome.stdout.split() == ["cc", "-DMS_WIN64", "-march=x86_64_v3", "-c", "kernels.c"]
    assert outcome.returncode == 3


def test_links_lead_to_files() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("bench/*.md")]
    dead = []
    for page in pages:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        for link in re.findall(r"\]\(<?([^)#>\s]+)", text):
            if not re.match(r"\w+:", link) and not (page.parent / link).exists():
                dead.append(f"{page.name}: {link}")
    assert not dead

"""The documentation: every block of code runs, and the site builds without a warning or a network.

Python blocks of one page share a namespace, in order; a block of prompts is compared with what
it prints.  A page that holds ``<!-- needs: MODULE -->`` is skipped where that is missing.
"""

from __future__ import annotations

import doctest
import json
import re
import shlex
import shutil
import subprocess
import sys
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import BACKENDS

import hmimo_fast as hf
from hmimo_fast import cli, nn, studies
from hmimo_fast.solvers import METHODS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "bench/RESULTS.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
FENCE = re.compile(r"^(`{3,})([^`\n]*)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
NEEDS = re.compile(r"<!-- needs: (\S+) -->")
COMMAND = re.compile(r"(?:^|[ /])hmimo-fast (.*)$", re.MULTILINE)
#: Commands that take long: their lines are parsed, not run; and the option that makes one quick.
SLOW = ("bench", "reproduce", "train")
QUICK = {
    "schedule": ["--users", "9", "--feeds", "3", "--no-figure"],
    "solve": ["--users", "3", "--no-figure"],
}


def blocks(page: Path, *kinds: str) -> list[tuple[int, str, str]]:
    """Line, kind and source of each fenced block, of these kinds or of all."""
    text = page.read_text()
    found = [(text.count("\n", 0, at.start(3)), at[2], at[3]) for at in FENCE.finditer(text)]
    return [block for block in found if not kinds or block[1] in kinds]


def pages_with(*kinds: str) -> list[Any]:
    """Pages with such blocks, as parameters named by their place."""
    chosen = [page for page in PAGES if blocks(page, *kinds)]
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in chosen]


def run_prompted(source: str, namespace: dict[str, Any], page: Path, line: int) -> None:
    """Run a block of prompts and compare what it prints."""
    parsed = doctest.DocTestParser().get_doctest(source, namespace, page.name, str(page), line)
    report: list[str] = []
    counts = doctest.DocTestRunner(verbose=False).run(parsed, out=report.append, clear_globs=False)
    assert not counts.failed, "".join(report)
    namespace.update(parsed.globs)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_are_of_kinds_that_are_tested(page: Path) -> None:
    """No block goes untested because of its kind or an open fence."""
    kinds = {kind for _, kind, _ in blocks(page)}
    included = {kind for kind in kinds if kind.startswith(("{include} ", "{literalinclude} "))}
    assert kinds - included <= {"python", "pycon", "bash", "text", "{toctree}", "{studies}"}
    assert page.read_text().count("```") == 2 * len(blocks(page))


@pytest.mark.parametrize("page", pages_with("python", "pycon"))
def test_python_blocks_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """From top to bottom, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    text = page.read_text()
    if "jit.native_" in text and "native" not in BACKENDS:
        pytest.skip("built without a compiler")
    needed = NEEDS.findall(text)
    for module in needed:
        package = module.partition(".")[0]
        if not (find_spec(package) and find_spec(module)):
            pytest.skip(f"{module} is not installed")
    if needed:  # other people's warnings and crashes stay in a process of their own
        script = "\n".join(source for _, _, source in blocks(page, "python"))
        outcome = subprocess.run([sys.executable, "-c", script], timeout=120)
        assert outcome.returncode == 0, capfd.readouterr().err
        return
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for line, kind, source in blocks(page, "python", "pycon"):
        if kind == "pycon":
            run_prompted(source, namespace, page, line)
        else:
            exec(compile("\n" * line + source, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", pages_with("bash"))
def test_shell_blocks(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are valid Bash, name scripts that exist, and `hmimo-fast` runs its lines."""
    monkeypatch.chdir(tmp_path)
    for _, _, source in blocks(page, "bash"):
        if shutil.which("bash"):
            subprocess.run(["bash", "-n", "-c", source], check=True)
        for script in re.findall(r"python3? ([\w/]+\.py)", source):
            assert (ROOT / script).is_file(), script
        for line in COMMAND.findall(source):
            arguments = shlex.split(line, comments=True)
            command = arguments[0]
            cli._parser().parse_args(arguments)
            if command not in SLOW:
                assert cli.main([*arguments, *QUICK.get(command, [])]) == 0


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_can_be_read_without_running(path: Path) -> None:
    """Every cell has run, in order and without an error or a warning, and there are pictures."""
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert "error" not in {output["output_type"] for output in outputs}
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors."""
    pytest.importorskip("myst_nb")
    out = tmp_path_factory.mktemp("site")
    options = ("-W", "--keep-going", "-q", "-b", "html", "-d", out / "doctrees")
    outcome = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, ROOT / "docs", out / "html"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return out / "html"


def test_site_needs_no_network(site: Path) -> None:
    """No page loads a script, a style, a font or an image from elsewhere; formulas are MathML."""
    for page in site.rglob("*.html"):
        text = page.read_text()
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"([^\"]*)", text)
        loaded += re.findall(r"<link\b[^>]*\bhref=\"([^\"]*)", text)
        assert not [link for link in loaded if re.match(r"(?:\w+:)?//", link)], page
    assert "<mfrac>" in (site / "model.html").read_text()


def test_reference_has_every_public_name(site: Path) -> None:
    """Whatever the package, its networks and its studies export stands in the reference."""
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    listed = {line.split()[0] for line in zlib.decompress(packed).decode().splitlines()}
    for module in (hf, nn, studies):
        assert {f"{module.__name__}.{name}" for name in module.__all__} <= listed


def test_every_algorithm_has_its_place() -> None:
    """Each method and search is in the tables of their page."""
    page = (ROOT / "docs" / "algorithms.md").read_text()
    for name in (*METHODS, "greedy", "local", "exhaustive"):
        assert f'`"{name}"`' in page

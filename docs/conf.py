"""Settings of the documentation: ``sphinx-build -W docs build/docs``, no network needed.

Formulas become MathML by docutils' own converter, so that a reader needs none either.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

import hmimo_fast
from hmimo_fast.studies import STUDIES

project = "hmimo_fast"
author = "The hmimo_fast authors"
copyright = author
release = version = hmimo_fast.__version__

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
nitpicky = True
default_role = "autolink"
nitpick_ignore_regex = [("py:obj", ".*")]  # names in single backticks are links where they can be
highlight_language = "none"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120  # seconds per cell: one trains a network

autodoc_typehints = "none"  # the docstrings name types, shapes and units
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = project
html_show_sourcelink = False
html_math_renderer = "mathml"
# Pages that have no others below them have nothing to show at the side.
html_sidebars = {
    page: [] for page in ("quickstart", "model", "networks", "curves", "performance", "versioning")
}
html_theme_options = {
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
}


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(tex2mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    formula = tex2mathml(node.astext(), as_block=True)
    self.body.append(f'<div style="margin: 1em 0; overflow-x: auto">{formula}</div>\n')
    raise nodes.SkipNode


class Studies(SphinxDirective):
    """A section for each study: what the paper says, and our figure and table where there are."""

    def run(self) -> list[nodes.Node]:
        results = Path(self.env.srcdir, "images", "studies")
        self.env.note_dependency(results)
        text = []
        for study in STUDIES.values():
            text.append(f"## {study.id}: {study.title}\n\n{study.source}. {study.says}\n")
            files = [results / f"{study.id}{suffix}" for suffix in (".png", ".txt")]
            if files[0].exists():
                text.append(f"![{study.id}, {study.title}](images/studies/{files[0].name})\n")
            if files[1].exists():
                text.append(f"```text\n{files[1].read_text(encoding='utf-8')}\n```\n")
            if not any(file.exists() for file in files):
                text.append(f"Not drawn here: `hmimo-fast reproduce {study.id}` draws it.\n")
        return self.parse_text_to_nodes("\n".join(text), allow_section_headings=True)


def setup(app: Sphinx) -> None:
    """Register the renderer of formulas and the page of studies."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.add_directive("studies", Studies)

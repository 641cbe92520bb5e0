"""Every figure and table of the papers, and ours: a description, an engine, a dataset, a figure."""

from __future__ import annotations

from . import hardware, paper_a, paper_b
from .dataset import load, save
from .description import Claim, Method, Panel, Setting, Study, Verdict
from .runner import run
from .trained import train

#: Studies by id.
STUDIES = {study.id: study for study in (*paper_b.STUDIES, *paper_a.STUDIES, *hardware.STUDIES)}

__all__ = [
    "STUDIES",
    "Claim",
    "Method",
    "Panel",
    "Setting",
    "Study",
    "Verdict",
    "load",
    "run",
    "save",
    "train",
]

"""Examples in docstrings that need what may not be installed."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("sionna") else ["hmimo_fast/sionna.py"]

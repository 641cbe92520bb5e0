"""One core for all benchmarks; warnings of the peers are not ours to fix.

    python -m pytest bench                              # all of them, several minutes
    python -m pytest bench -k "gradient and 64-batch"   # some

In a group the same work is done by all libraries, after a check that they agree.
"""

from __future__ import annotations

import pytest
from peers import one_core


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "default")
    one_core()

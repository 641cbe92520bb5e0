"""``python -m hmimo_fast``: the command line where ``hmimo-fast`` is not on the path."""

from __future__ import annotations

from hmimo_fast.cli import main

if __name__ == "__main__":
    raise SystemExit(main())

"""The C compiler of Windows wheels: zig's clang, as `CC`.

MSVC has no GNU vector extensions, and GCC misaligns wide vectors on Windows.  zig spells x86-64-v3
with underscores; Python's headers name 64-bit Windows for MSVC alone.
"""

import subprocess
import sys

arguments = [argument.replace("=x86-64-v", "=x86_64_v") for argument in sys.argv[1:]]
sys.exit(subprocess.call([sys.executable, "-m", "ziglang", "cc", "-DMS_WIN64", *arguments]))

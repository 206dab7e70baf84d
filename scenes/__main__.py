"""`python -m scenes` is `python tools/scenes.py`, by the name that documents give it."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    tool = Path(__file__).resolve().parents[1] / "tools" / "scenes.py"
    os.execv(sys.executable, [sys.executable, str(tool), *sys.argv[1:]])

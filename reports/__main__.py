"""`python -m reports` is `python tools/report.py`, by the name that records and documents give it."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    tool = Path(__file__).resolve().parents[1] / "tools" / "report.py"
    os.execv(sys.executable, [sys.executable, str(tool), *sys.argv[1:]])

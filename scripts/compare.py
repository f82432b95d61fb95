"""Run the command `compare` from a checkout: `python scripts/compare.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainlib.cli.compare import main  # noqa: E402

if __name__ == "__main__":
    main()

"""Run the command `tune` from a checkout: `python scripts/tune.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainlib.cli.tune import main  # noqa: E402

if __name__ == "__main__":
    main()

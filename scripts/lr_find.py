"""Run the command `lr_find` from a checkout: `python scripts/lr_find.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainlib.cli.lr_find import main  # noqa: E402

if __name__ == "__main__":
    main()

"""Run the command `export_model` from a checkout: `python scripts/export_model.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainlib.cli.export_model import main  # noqa: E402

if __name__ == "__main__":
    main()

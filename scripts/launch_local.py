"""Run the command `launch_local` from a checkout: `python scripts/launch_local.py 2 -- train`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainlib.cli.launch_local import main  # noqa: E402

if __name__ == "__main__":
    main()

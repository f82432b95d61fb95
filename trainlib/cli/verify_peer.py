"""The process of a peer of `verify`: `python -m trainlib.cli.verify_peer torch`.

TensorFlow is not imported in it, unless a peer needs it.
"""

from __future__ import annotations

import sys

from trainlib.cli.lazy_import import defer

defer("tensorflow", "keras")

from trainlib.verify.peer_process import serve  # noqa: E402

if __name__ == "__main__":
    serve(sys.argv[1])

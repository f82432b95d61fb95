"""The command `verify`, for running it from a checkout: `python scripts/verify.py --help`."""

from trainlib.cli.verify import main

if __name__ == "__main__":
    main()

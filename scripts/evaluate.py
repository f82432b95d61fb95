"""The command `evaluate`, for running it from a checkout: `python scripts/evaluate.py --help`."""

from trainlib.cli.evaluate import main

if __name__ == "__main__":
    main()

"""The command `train`, for running it from a checkout: `python scripts/train.py --help`."""

from trainlib.cli.train import main

if __name__ == "__main__":
    main()

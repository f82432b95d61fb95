"""The command `predict`, for running it from a checkout: `python scripts/predict.py --help`."""

from trainlib.cli.predict import main

if __name__ == "__main__":
    main()

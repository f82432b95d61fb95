"""`python -m trainlib`: the command `trainlib`."""

from trainlib.cli.main import main

if __name__ == "__main__":
    main()

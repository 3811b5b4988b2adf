"""`python -m automatch`."""

from automatch.cli.main import main

if __name__ == "__main__":
    main()

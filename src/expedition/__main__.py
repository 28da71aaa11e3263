"""`python -m expedition`: the same as the `expedition` command."""

from expedition.cli.main import main

if __name__ == "__main__":
    main()

"""`python -m retemper`, which launchers of several processes call."""

from retemper.cli import main

if __name__ == "__main__":
    main()

"""`python -m kerasgen.cli` is `kerasgen`."""

from kerasgen.cli import main

if __name__ == "__main__":
    main()

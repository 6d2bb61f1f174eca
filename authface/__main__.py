"""`python -m authface`, where the command is not on the path."""

from authface.cli import main

if __name__ == "__main__":  # worker processes import it too
    main()

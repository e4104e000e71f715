"""``python -m covalent_core``: the command line."""

from covalent_core._cli import main

if __name__ == "__main__":
    main()

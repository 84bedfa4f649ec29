"""``python -m carbyne``: the operator's commands."""

import sys

from carbyne.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

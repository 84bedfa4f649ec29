"""``python -m carbyne``: the operator's commands."""

import sys

from carbyne.ops import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

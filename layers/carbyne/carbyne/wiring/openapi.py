"""The whole HTTP surface: the route tables of all functions.

``python -m carbyne.wiring.openapi`` prints its description, the file ``http/openapi.json``.
"""

import sys
from typing import Final

from carbyne.http.openapi import Tables, text
from carbyne.intake import writer
from carbyne.page import api as page
from carbyne.queue import api as queue
from carbyne.read import api as read
from carbyne.registry import api

TABLES: Final[Tables] = {
    "writer": writer.ROUTES,
    "reader": read.ROUTES,
    "registry": api.ROUTES,
    "page": page.ROUTES,
    "queue": queue.ROUTES,
}

if __name__ == "__main__":
    sys.stdout.write(text(TABLES))

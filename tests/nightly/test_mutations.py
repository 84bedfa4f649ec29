"""A million recorded requests with random changes, others each night; a failure names its seed and number.

``SEED=<seed>`` runs the cases of another night again.
"""

import logging
import os
import secrets

import pytest

from tests.support.mutations import Mutations

CASES, PARTS = 1_000_000, 20
SEED = os.environ.get("SEED") or secrets.token_hex(4)

pytestmark = pytest.mark.nightly


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("part", range(PARTS))
def test_no_request_fails_and_none_is_stored_wrongly(part):
    each = CASES // PARTS
    Mutations(SEED).run(range(part * each, (part + 1) * each))

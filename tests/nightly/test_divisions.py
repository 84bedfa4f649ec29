"""A target of 50,000 series, divided at the real bound."""

import pytest
from carbyne.core.limits import SERIES_PER_SOURCE_MAX

from harness.pipeline import flush
from tests.support.divided import NOW_S, Divided, check_many

pytestmark = pytest.mark.nightly


def test_fifty_thousand_series_of_a_target_are_read_back_once(cluster):
    flush(cluster)
    pipeline = Divided(cluster, NOW_S)
    try:
        check_many(pipeline, series=50_000, per_source=SERIES_PER_SOURCE_MAX)
    finally:
        pipeline.close()

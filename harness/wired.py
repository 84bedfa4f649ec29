"""The functions' use cases as ``carbyne.wiring`` assembles them, over the ports of tests and benchmarks."""

import msgspec
from carbyne.core.keys import RESOLUTIONS
from carbyne.core.settings import IngesterSettings, ReaderSettings, ReconcilerSettings, SealerSettings

DEFAULTS = {str: "", bool: False, int: 0}


def settings(kind, **given):
    """Settings of ``kind`` with these fields; the others are empty."""
    fields = {field.name: DEFAULTS.get(field.type, field.default) for field in msgspec.structs.fields(kind)}
    return kind(**fields | given)


def ingester_settings(schedule, length_s, retention_s, epoch=1):
    return settings(
        IngesterSettings,
        stream_epoch=epoch,
        cold_raw_s=retention_s,
        raw_window_s=length_s,
        seal_grace_s=schedule.grace_s,
        seal_jitter_s=schedule.jitter_s,
    )


def sealer_settings(schedule, retention_s, hot_s, warm_s):
    """``warm_s``: by resolution."""
    return settings(
        SealerSettings,
        seal_grace_s=schedule.grace_s,
        seal_jitter_s=schedule.jitter_s,
        cold_raw_s=retention_s,
        hot_s=hot_s,
        **{f"warm_{resolution}_s": warm_s[resolution] for resolution in RESOLUTIONS},
    )


def reconciler_settings(warm_s):
    """``warm_s``: by resolution."""
    return settings(ReconcilerSettings, **{f"warm_{resolution}_s": warm_s[resolution] for resolution in RESOLUTIONS})


def reader_settings(length_s, retention_s, raw_s=None):
    """``retention_s``: of every resolution, ``raw_s``: of raw samples if it differs."""
    cold = {f"cold_{resolution}_s": retention_s for resolution in RESOLUTIONS}
    return settings(ReaderSettings, raw_window_s=length_s, **cold | {"cold_raw_s": raw_s or retention_s})


class NoDeletes:
    """How many deletes of a source are kept: none."""

    def of(self, source):
        return 0

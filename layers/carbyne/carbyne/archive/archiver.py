"""Archiving: raw blocks go to S3 when they are put into the table, rollups when their window has closed, and each
block is checked once more when it expires.

The archive has a tree of parts of its own: a block image is merged into the root of its window, whatever part of the
table it comes from, so that a reader finds all of it from there.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from carbyne.core.errors import CorruptDataError, RetryableError, UnknownVersionError
from carbyne.core.items import Blocks
from carbyne.core.keys import RAW, BlockKey, SourceKey
from carbyne.core.meter import Meter
from carbyne.samples import blocks
from carbyne.samples.markers import Markers
from carbyne.store.catalogue import Catalogue
from carbyne.store.tree import merge_into
from carbyne.stream.arrived import Image

_log = logging.getLogger(__name__)


class SourceDeletes(Protocol):
    def markers(self) -> Markers: ...


class DeleteMarkers(Protocol):
    """The deletes of each source; RetryableError if they can't be asked for."""

    def of(self, source: SourceKey) -> SourceDeletes: ...


class BlockQuarantine(Protocol):
    """Keeps a corrupt block with its reason; RetryableError if it can't."""

    def put(self, key: BlockKey, data: bytes, reason: str) -> None: ...


def archive(cold: Blocks, deletes: DeleteMarkers, key: BlockKey, data: bytes) -> bool:
    """Make sure that the archive holds the samples of a block that are not deleted, or of a stub none; whether anything
    had to change.

    Raises CorruptDataError if the block can't be read, or what the archive has of its window; RetryableError if the
    archive can't be asked.
    """
    if blocks.parts_of(data):
        return False
    columns = blocks.decode(data)
    try:
        markers = deletes.of(key.source).markers if key.resolution == RAW else _none
        return merge_into(cold, key._replace(part=blocks.WHOLE), columns, expires_s=0, markers=markers)
    except UnknownVersionError:
        raise
    except CorruptDataError as error:
        raise CorruptDataError(f"the block is sound, what the archive has of its window is not: {error}") from error


def restore(cold: Blocks, catalogue: Catalogue, key: BlockKey, data: bytes) -> None:
    """Archive a block that was set aside, and note that reads find more than before.  Errors as of ``archive``."""
    archive(cold, catalogue, key, data)
    catalogue.of(key.source).note_change(data)


def _none() -> Markers:
    """Rollups are recomputed from what is left, and never merged by sample."""
    return ()


class Archiver:
    """Takes the changes of the blocks table, in the order of the stream."""

    def __init__(
        self, cold: Blocks, deletes: DeleteMarkers, quarantine: BlockQuarantine, now_ms: Callable[[], int], meter: Meter
    ) -> None:
        self._cold = cold
        self._deletes = deletes
        self._quarantine = quarantine
        self._now_ms = now_ms
        self._meter = meter

    def take(self, images: Iterable[Image]) -> str | None:
        """Archive each block; the sequence number from which the changes must come again, None if all are done."""
        failed = None
        for image in images:
            try:
                self._take(image)
            except (RetryableError, UnknownVersionError) as error:
                _log.warning("block %s waits in the stream: %s", image.key.object, error)
                failed = image.sequence
                break
        self._meter.flush_due()
        return failed

    def _take(self, image: Image) -> None:
        if self._grows(image):
            return
        try:
            if archive(self._cold, self._deletes, image.key, image.data):
                self._meter.add("BlocksArchived", 1)
        except UnknownVersionError:
            raise
        except CorruptDataError as error:
            _log.error("block %s is set aside: %s", image.key.object, error)
            self._quarantine.put(image.key, image.data, str(error))
            self._meter.add("BlocksQuarantined", 1)

    def _grows(self, image: Image) -> bool:
        """Whether each seal of an open window writes this block again: it is copied when the window has closed."""
        is_open = image.key.window.end_s * 1000 > self._now_ms()
        return image.key.resolution != RAW and is_open and not image.removed

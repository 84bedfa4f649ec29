"""What a rule file holds, as it was written, and what its durations mean."""

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta

MINUTE_S: Final = 60
DURATION: Final = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII
)
UNITS_MS: Final = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1000, 1)
DURATION_CHARACTERS_MAX: Final = 50
DURATION_MS_MAX: Final = 10 * UNITS_MS[0]


class GroupRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"hold": "for"}):
    """A rule as it was written: either ``record`` or ``alert``; ``hold`` and ``keep_firing_for``: durations."""

    record: str = ""
    alert: str = ""
    expr: str
    hold: str = ""
    keep_firing_for: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}

    @property
    def name(self) -> str:
        return self.record or self.alert

    @property
    def hold_ms(self) -> int:
        return duration_ms(self.hold) or 0

    @property
    def keep_ms(self) -> int:
        return duration_ms(self.keep_firing_for) or 0


class FileGroup(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A group as it was written; ``interval`` and ``query_offset``: durations; ``limit``: of series or alerts of a
    rule, 0 for none."""

    name: str
    interval: str = ""
    query_offset: str = ""
    limit: Annotated[int, Meta(ge=0)] = 0
    labels: dict[str, str] = {}
    rules: list[GroupRule]

    @property
    def interval_s(self) -> int:
        """Whole minutes: what asks for less, or for a part of one, is evaluated at the next whole minute."""
        written_ms = duration_ms(self.interval) or MINUTE_S * 1000
        return max(1, -(-written_ms // (MINUTE_S * 1000))) * MINUTE_S

    @property
    def offset_ms(self) -> int:
        return duration_ms(self.query_offset) or 0

    def remarks(self) -> list[str]:
        """What is done otherwise than it was written."""
        if not self.interval or duration_ms(self.interval) in (0, self.interval_s * 1000):
            return []
        what = f"group {self.name!r}: the interval {self.interval} becomes {self.interval_s} s"
        return [f"{what}: groups are evaluated at whole minutes"]


class RuleGroups(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds."""

    groups: list[FileGroup]


def duration_ms(text: str) -> int | None:
    """Of a duration as Prometheus writes it, ``1h30m``; None for another text, and for a longer one."""
    match = DURATION.fullmatch(text) if len(text) < DURATION_CHARACTERS_MAX else None
    if text == "0":
        return 0
    if not text or not match:
        return None
    return sum(int(number or 0) * unit for number, unit in zip(match.groups(), UNITS_MS, strict=True))

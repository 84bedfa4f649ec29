"""Looks at the monitors of all tenants.

Nothing is kept between two looks but what the registry's table has, and every change is conditional on it: looks may be
repeated, overlap, and end at any time.
"""

import logging
from collections.abc import Callable, Sequence

from carbyne.core.errors import CarbyneError, RetryableError
from carbyne.core.limits import EVALUATE_CHEAP_S, EVALUATE_RESERVE_S, EVALUATE_TENANT_S
from carbyne.evaluate.computed import ComputedLook
from carbyne.evaluate.look import Eyes, TenantLook
from carbyne.evaluate.plan import plan
from carbyne.evaluate.turns import TenantTurns
from carbyne.registry import alerts, hosts, rules

_log = logging.getLogger(__name__)


class MonitorEvaluator:
    """``monotonic``: seconds, by which a tenant's time is bounded."""

    def __init__(self, eyes: Eyes, now_ms: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._eyes = eyes
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._turns = TenantTurns(EVALUATE_CHEAP_S, now_ms, monotonic)

    def run(self, seconds_left: Callable[[], float]) -> int:
        """How many tenants were looked at; the last error if none could be.  Those that take little are looked at each
        minute, whatever others take."""
        tenants = self._turns.ordered(list(rules.tenants(self._eyes.registry.store)))
        done, looks = 0, list[ComputedLook]()
        failure: CarbyneError | None = None
        for number, tenant in enumerate(tenants):
            if seconds_left() < EVALUATE_RESERVE_S:
                _log.error("monitors of %d tenants wait for the next minute", len(tenants) - number)
                break
            try:
                with self._turns.turn(tenant):
                    look = self._look(tenant, seconds_left)
                looks += [look] if look else []
                done += 1
            except RetryableError as error:
                _log.warning("monitors of %s wait for the next minute: %s", tenant, error)
                failure = error
            except CarbyneError as error:  # what can't be read of one tenant must not hold up the others
                _log.exception("monitors of %s can't be judged", tenant)
                failure = error
            except Exception as error:  # noqa: BLE001 - nor may a bug of ours that one tenant meets
                self._eyes.note_bug(f"monitors of {tenant} can't be judged", error)
        self._compute(looks, seconds_left)
        if failure and not done:
            raise failure
        return done

    def _compute(self, looks: Sequence[ComputedLook], seconds_left: Callable[[], float]) -> None:
        """Expressions and queries come behind all samples: of the tenant first that waited longest."""
        for number, look in enumerate(sorted(looks, key=lambda look: look.turn)):
            if seconds_left() < EVALUATE_RESERVE_S:
                _log.error("expressions and queries of %d tenants wait for the next minute", len(looks) - number)
                break
            try:
                look.run(self._monotonic)
            except CarbyneError:
                _log.exception("expressions and queries of %s can't be judged", look.tenant)
            except Exception as error:  # noqa: BLE001 - as of samples
                self._eyes.note_bug(f"expressions and queries of {look.tenant} can't be judged", error)

    def _look(self, tenant: str, seconds_left: Callable[[], float]) -> ComputedLook | None:
        """At what of the tenant waited longest, as far as the time goes; what is left to do if it has expressions or
        queries."""
        store, begun_s = self._eyes.registry.store, self._monotonic()

        def is_over() -> bool:
            return self._monotonic() - begun_s > EVALUATE_TENANT_S or seconds_left() < EVALUATE_RESERVE_S

        made, known = plan(rules.find(store, tenant), hosts.everyone(store, tenant)), alerts.watched(store, tenant)
        look = TenantLook(self._eyes, tenant, made, known, self._now_ms(), is_over)
        for shard in look.shards():
            if is_over():
                break
            look.judge(shard)
        if is_over():
            _log.error("some monitors of %s wait for the next minute", tenant)
        look.clear()
        return ComputedLook(self._eyes, tenant, made, known, self._now_ms()) if made.computed else None

"""Queues over the real scripts and a table in memory."""

import pytest
from carbyne.core import limits
from carbyne.core.errors import OverLimitError, RequestError, RetryableError
from carbyne.core.keys import QueueKey, takers
from carbyne.core.names import OPERATOR
from carbyne.queue import deletion
from carbyne.queue import queues as module
from carbyne.queue.queues import NewMessage, QueueState

from tests.support.queue_stores import MemoryQueueWorld

JOBS = QueueKey("a", "jobs")


@pytest.fixture
def world():
    return MemoryQueueWorld()


def publish(world, *bodies, queue=JOBS, **fields):
    return world.queues.publish(queue, [NewMessage(b"%d" % body, **fields) for body in bodies])


def take(world, most=10, wait_s=0, lease_s=30, queue=JOBS):
    return world.queues.take(queue, most, wait_s, lease_s)


def bodies(taken):
    return [int(message.body) for message in taken]


def test_messages_come_in_the_order_of_their_publishes_and_are_gone_when_acknowledged(world):
    publish(world, 1, 2)
    publish(world, 3)
    first = take(world, most=2)
    assert (bodies(first), [message.tries for message in first]) == ([1, 2], [1, 1])
    rest = take(world)
    assert bodies(rest) == [3]
    world.queues.acknowledge(JOBS, [message.lease for message in [*first, *rest]])
    world.sleep(60)
    assert take(world) == []
    assert world.table.messages == {} and world.queues.state(JOBS) == QueueState(0, 0, 0, 0, None)


def test_a_message_whose_taker_died_comes_again_at_its_place(world):
    publish(world, 1)
    publish(world, 2)
    take(world, most=1)
    assert bodies(take(world, most=1, lease_s=60)) == [2]
    world.sleep(30)
    publish(world, 3)
    again = take(world)
    assert (bodies(again), [message.tries for message in again]) == ([1, 3], [2, 1])


def test_a_message_that_is_extended_stays_and_one_that_is_released_comes_at_once(world):
    publish(world, 1, 2)
    first, second = take(world)
    world.sleep(20)
    assert world.queues.extend(JOBS, [first.lease], 30) == []
    assert world.queues.extend(JOBS, [second.lease], 0) == []
    assert bodies(take(world)) == [2]
    world.sleep(29)
    assert take(world) == []
    world.sleep(1)
    assert bodies(take(world)) == [1, 2]
    assert world.queues.extend(JOBS, [first.lease, second.lease], 30) == [first.lease, second.lease]


def test_an_acknowledgement_counts_though_the_lease_was_over(world):
    publish(world, 1)
    [first] = take(world)
    world.sleep(30)
    [second] = take(world)
    world.queues.acknowledge(JOBS, [first.lease])
    world.sleep(30)
    assert take(world) == []
    world.queues.acknowledge(JOBS, [second.lease])


def test_a_delayed_message_comes_when_it_is_due(world):
    publish(world, 1, delay_ms=60_000)
    publish(world, 2)
    assert bodies(take(world, lease_s=90)) == [2]
    assert world.queues.state(JOBS).delayed == 1
    world.sleep(59.5)
    assert take(world) == []
    world.sleep(0.5)
    assert bodies(take(world)) == [1]


def test_a_message_that_is_due_tomorrow_is_in_the_table_alone_and_comes_in_time(world):
    publish(world, 1, delay_ms=86_400_000)
    assert not world.redis.values.get(JOBS.delayed.encode()) and world.queues.state(JOBS).delayed == 1
    world.sleep(86_400 - 120)
    assert world.sweep() == 1
    assert take(world) == []
    world.flush()
    world.sleep(120)
    assert bodies(take(world)) == [1]


def test_a_message_with_a_key_is_published_once(world):
    [first] = publish(world, 1, key="job 7, minute 3")
    [again] = publish(world, 1, key="job 7, minute 3")
    assert first == again
    assert bodies(take(world)) == [1]
    publish(world, 1, key="job 7, minute 3")
    assert take(world) == []
    world.sleep(limits.MESSAGE_KEY_S)
    publish(world, 1, key="job 7, minute 3")
    assert bodies(take(world)) == [1, 1]


def test_a_message_that_was_published_but_not_acknowledged_by_redis_is_completed_by_a_repetition(world, monkeypatch):
    publish(world, 0)
    monkeypatch.setattr(world.order, "push", _away)
    with pytest.raises(RetryableError):
        publish(world, 1, key="k")
    monkeypatch.undo()
    publish(world, 1, key="k")
    assert bodies(take(world)) == [0, 1]


def _away(*_):
    raise RetryableError("Redis is away")


def test_a_publish_that_fails_leaves_nothing(world, monkeypatch):
    publish(world, 0)
    monkeypatch.setattr(world.order, "push", _away)
    with pytest.raises(RetryableError):
        publish(world, 1)
    assert len(world.table.messages) == 1


def test_a_message_that_always_fails_becomes_a_dead_letter_and_can_be_put_back(world):
    publish(world, 1)
    for tries in range(1, limits.MESSAGE_TRIES_MAX + 1):
        assert [message.tries for message in take(world)] == [tries]
        world.sleep(30)
    assert take(world) == []
    assert world.queues.state(JOBS) == QueueState(0, 0, 0, 1, None)
    [letter] = world.queues.dead(JOBS, "", 10)
    assert (letter.body, letter.tries, letter.died_s) == (b"1", limits.MESSAGE_TRIES_MAX, world.now_ms // 1000)
    assert world.queues.put_back(JOBS, [letter.id, "9" * 16 + letter.id[16:]]) == 1
    assert [message.tries for message in take(world)] == [1]
    assert world.queues.dead(JOBS, "", 10) == []


def test_dead_letters_are_purged(world):
    publish(world, *range(3))
    for _ in range(limits.MESSAGE_TRIES_MAX + 1):
        take(world)
        world.sleep(30)
    assert len(world.queues.dead(JOBS, "", 2)) == 2
    assert world.queues.purge_dead(JOBS) == (3, False)
    assert world.queues.dead(JOBS, "", 2) == []


def test_a_purge_takes_the_messages_of_one_queue(world, monkeypatch):
    other = QueueKey("a", "other")
    publish(world, 1, queue=other)
    publish(world, *range(7))
    take(world, most=2)
    monkeypatch.setattr(module, "PURGE_MESSAGES_MAX", 4)
    monkeypatch.setattr(module, "QUEUE_PAGE", 2)
    assert world.queues.purge(JOBS) == (4, True)
    assert world.queues.purge(JOBS) == (3, False)
    assert world.queues.state(JOBS) == QueueState(0, 0, 0, 0, None)
    assert bodies(take(world, queue=other)) == [1]


def test_a_flushed_redis_is_built_again_and_gives_no_leased_message_away(world):
    publish(world, 1, 2)
    [taken] = take(world, most=1)
    publish(world, *range(100, 100 + limits.TAKEN_AHEAD + 2))
    world.flush()
    last = take(world, most=100)
    assert bodies(last) == [100 + limits.TAKEN_AHEAD - 1 + at for at in range(3)], "those may not have been taken"
    world.queues.acknowledge(JOBS, [taken.lease])
    world.sleep(30)
    assert bodies(take(world, most=2)) == [2, 100], "the others come when no lease can be left"


def test_a_change_of_masters_is_a_loss(world):
    publish(world, 1)
    [taken] = take(world)
    before = dict(world.redis.values)
    publish(world, 2)
    world.redis.values = before
    world.nodes.promote(JOBS.lane)
    world.sleep(15)
    assert world.queues.extend(JOBS, [taken.lease], 30) == [], "the lease is still its"
    world.sleep(29.5)
    assert take(world) == [], "the other one may have been taken before the loss"
    world.sleep(0.5)
    assert bodies(take(world)) == [1, 2]


def test_building_goes_on_where_it_stopped(world, monkeypatch):
    publish(world, *range(10))
    world.flush()
    monkeypatch.setattr("carbyne.queue.building.QUEUE_PAGE", 2)
    pages = []
    fill = world.order.fill

    def slow(*arguments):
        pages.append(arguments[1])
        world.sleep(limits.QUEUE_BUILD_S / 3)
        return fill(*arguments)

    monkeypatch.setattr(world.order, "fill", slow)
    with pytest.raises(RetryableError, match="being built"):
        take(world)
    assert len(pages) == 3
    assert bodies(take(world)) == list(range(10))
    assert len(pages) == len(set(pages)) == 6


def test_an_empty_queue_is_waited_at_and_the_number_of_waiting_takers_is_bounded(world):
    publish(world, 1)
    take(world)
    begun_ms = world.now_ms
    assert take(world, wait_s=20, lease_s=900) == []
    assert world.now_ms - begun_ms == 20_000
    for at in range(limits.TAKERS_WAITING_MAX):
        assert world.order.enter("a", f"taker{at}", 25_000)
    with pytest.raises(OverLimitError, match="waiting-takers"):
        take(world, wait_s=20)
    world.sleep(10)
    assert bodies(take(world, lease_s=1)) == [1], "who does not wait is no burden"
    assert world.order.enter("b", "taker", 25_000)
    assert take(world) == []
    world.sleep(20)
    assert bodies(take(world, most=1)) == [1]
    assert take(world, wait_s=0.1) == []


def test_a_waiting_taker_gets_what_comes(world, monkeypatch):
    publish(world, 0)
    take(world)
    sleep = world.sleep

    def publishing(seconds):
        sleep(seconds)
        publish(world, 1)

    waiting = world.instance()
    monkeypatch.setattr(waiting, "_time", world.time._replace(sleep=publishing))
    assert bodies(waiting.take(JOBS, 10, 5, 30)) == [1]
    assert takers("a").encode() not in world.redis.values, "it left"


def test_a_queue_is_no_longer_than_its_limit(world, monkeypatch):
    monkeypatch.setattr("carbyne.adapters.redis.queue.QUEUE_LENGTH_MAX", 3)
    publish(world, 1, 2)
    take(world, most=1)
    with pytest.raises(OverLimitError, match="queue-length"):
        publish(world, 3, 4)
    publish(world, 3)


def test_the_sweep_finds_what_a_publisher_left_that_died(world):
    publish(world, 1)
    [lost] = publish(world, 2)
    world.order.forget(JOBS, [lost])
    assert bodies(take(world)) == [1]
    world.sweep()
    assert bodies(take(world)) == [2]
    world.order.forget(JOBS, [lost])
    world.sweep()
    assert take(world) == [], "once in an hour is enough"


def test_a_message_that_the_table_lacks_is_dropped(world):
    publish(world, 1, 2)
    world.table.remove(JOBS, [min(each for _, each in world.table.messages)])
    assert bodies(take(world, most=1)) == [2]
    assert world.queues.state(JOBS).leased == 1


def test_leases_are_given_back_when_the_table_is_away(world):
    publish(world, 1)
    take(world)
    world.sleep(30)
    world.table.away = True
    with pytest.raises(RetryableError):
        take(world)
    world.table.away = False
    assert [message.tries for message in take(world)] == [3]


@pytest.mark.parametrize("name", ["", "a" * 81, "ä", "a/b", "a:b"])
def test_a_queue_has_a_plain_name(world, name):
    with pytest.raises(RequestError) as refused:
        publish(world, 1, queue=QueueKey("a", name))
    assert refused.value.status == 400


def test_a_tenant_has_so_many_queues(world):
    for number in range(limits.QUEUES_PER_TENANT_MAX):
        publish(world, 1, queue=QueueKey("a", f"q{number}"))
    with pytest.raises(RequestError, match="limit"):
        publish(world, 1, queue=QueueKey("a", "more"))
    publish(world, 1, queue=QueueKey("b", "more"))
    assert world.queues.names("b") == ["more"]


def test_the_operator_has_a_queue_of_notifications_for_each_tenant(world):
    for number in range(limits.QUEUES_PER_TENANT_MAX + 1):
        publish(world, 1, queue=QueueKey(OPERATOR, f"notifications.{number}"))
    longest = "t" * 63
    publish(world, 1, queue=QueueKey(OPERATOR, f"notifications.{longest}"))
    assert len(world.queues.names(OPERATOR)) == limits.QUEUES_PER_TENANT_MAX + 2


def test_queues_are_ready_that_may_have_a_message(world):
    names = ("delayed", "deleted", "empty", "leased", "waiting")
    for name in names:
        publish(world, 1, queue=QueueKey("a", name), delay_ms=60_000 if name == "delayed" else 0)
    publish(world, 1, queue=QueueKey("b", "other"))
    for name in ("empty", "leased"):
        [taken] = take(world, lease_s=30, queue=QueueKey("a", name))
        if name == "empty":
            world.queues.acknowledge(QueueKey("a", name), [taken.lease])
    world.queues.delete(QueueKey("a", "deleted"))
    assert world.queues.ready("a") == ["waiting"]
    world.sleep(31)
    assert world.queues.ready("a") == ["leased", "waiting"]
    world.sleep(30)
    assert world.queues.ready("a") == ["delayed", "leased", "waiting"]
    world.flush()
    assert world.queues.ready("a") == ["delayed", "empty", "leased", "waiting"], "Redis does not know"
    assert take(world, queue=QueueKey("a", "empty")) == [] and "empty" not in world.queues.ready("a")


def test_an_unknown_queue_has_nothing(world):
    for ask in (world.queues.state, lambda queue: world.queues.take(queue, 1, 0, 1), world.queues.purge):
        with pytest.raises(RequestError) as refused:
            ask(JOBS)
        assert refused.value.status == 404


@pytest.mark.parametrize("lease", ["", "x", "1.2", "0" * 16 + "-" + "0" * 11 + "-" + "0" * 8, "ä"])
def test_what_is_no_lease_is_refused(world, lease):
    publish(world, 1)
    for ask in (lambda: world.queues.acknowledge(JOBS, [lease]), lambda: world.queues.extend(JOBS, [lease], 1)):
        with pytest.raises(RequestError) as refused:
            ask()
        assert refused.value.status == 400


def test_a_taker_of_before_gives_nothing_away_after_a_loss(world):
    publish(world, 1)
    [old] = take(world, lease_s=1)
    before = {key: dict(value) if isinstance(value, dict) else value for key, value in world.redis.values.items()}
    world.sleep(1)
    [new] = take(world, lease_s=30)
    world.redis.values = before
    world.nodes.promote(JOBS.lane)
    assert world.queues.extend(JOBS, [old.lease], 0) == []
    assert take(world) == [], "the other taker lives"
    assert world.queues.extend(JOBS, [new.lease], 30) == []


def everything_of(world, queue):
    """What any store has of a queue, but for its note."""
    table = world.table
    items = [
        key for kind in (table.messages, table.later, table.letters, table.keys) for key in kind if key[0] == queue
    ]
    return items + [key for key in world.redis.values if key.decode().endswith(f":{queue.path}")]


def test_a_queue_that_is_deleted_takes_everything_with_it_and_can_be_made_again(world):
    other = QueueKey("b", "jobs")
    publish(world, 7, queue=other)
    publish(world, 1, key="k")
    publish(world, 2, delay_ms=86_400_000)
    publish(world, 3)
    for _ in range(limits.MESSAGE_TRIES_MAX + 1):
        take(world, most=1)
        world.sleep(30)
    publish(world, 4, 5)
    assert world.table.letters and world.table.later and world.table.keys
    leased = take(world, most=1)[0].lease
    count = len(world.table.messages) + len(world.table.later) + len(world.table.letters) + len(world.table.keys)
    assert world.queues.delete(JOBS) == (count - 1, False)  # all but the message of the other tenant
    assert everything_of(world, JOBS) == [] and world.queues.names("a") == []
    for ask in (take, lambda world: world.queues.state(JOBS), lambda world: world.queues.extend(JOBS, [leased], 30)):
        with pytest.raises(RequestError, match="unknown"):
            ask(world)
    with pytest.raises(RetryableError, match="in two minutes"):
        publish(world, 6)
    world.sleep(limits.QUEUE_DELETION_S)
    world.sweep()
    assert (JOBS in world.table.notes, everything_of(world, JOBS)) == (False, [])
    publish(world, 6)
    assert bodies(take(world)) == [6] and bodies(take(world, queue=other)) == [7]


def test_another_instance_learns_that_a_queue_was_deleted(world):
    publish(world, 1)
    another = world.instance()
    assert bodies(another.take(JOBS, 1, 0, 30)) == [1]
    world.queues.delete(JOBS)
    with pytest.raises(RequestError, match="unknown"):
        another.take(JOBS, 1, 0, 30)
    world.sleep(limits.QUEUE_DELETION_S)
    world.sweep()
    assert everything_of(world, JOBS) == []
    another._known.add(JOBS)  # an instance that last heard of the queue while it was there
    another.publish(JOBS, [NewMessage(b"2")])
    assert bodies(take(world)) == [2]


def test_a_long_queue_is_deleted_part_by_part_by_requests_or_by_the_sweep(world, monkeypatch):
    monkeypatch.setattr(deletion, "PURGE_MESSAGES_MAX", 4)
    publish(world, *range(10))
    assert world.queues.delete(JOBS) == (4, True)
    assert world.queues.delete(JOBS) == (4, True)
    world.sweep()
    assert everything_of(world, JOBS) == [] and JOBS in world.table.notes
    assert world.queues.delete(JOBS) == (0, False)
    world.sleep(limits.QUEUE_DELETION_S)
    world.sweep()
    with pytest.raises(RequestError, match="unknown"):
        world.queues.delete(JOBS)


@pytest.mark.parametrize("delay_ms", [0, 86_400_000])
def test_a_publish_that_a_delete_overtakes_is_not_acknowledged(world, monkeypatch, delay_ms):
    publish(world, 0)
    name = "put_later" if delay_ms else "put"
    put = getattr(world.table, name)

    def overtaken(queue, messages):
        if messages:
            world.instance().delete(queue)
        put(queue, messages)

    monkeypatch.setattr(world.table, name, overtaken)
    with pytest.raises(RetryableError, match="not published"):
        publish(world, 1, delay_ms=delay_ms)
    assert everything_of(world, JOBS) == []

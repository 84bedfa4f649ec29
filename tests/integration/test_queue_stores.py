"""Queues on their real stores: the contracts that the ones in memory pass too, and a thousand jobs through losses."""

import itertools
import secrets
import time

import pytest
from carbyne.adapters.dynamodb.queue import DynamoQueues
from carbyne.adapters.redis.queue import RedisQueues
from carbyne.core.errors import RetryableError
from carbyne.core.keys import QueueKey
from carbyne.core.limits import MESSAGE_KEY_S
from carbyne.queue.ports import BUILDING, LOST, UNNOTED, WHOLE, Leased, QueueNote, Reserved

from tests.model.redis import MemoryNodes, MemoryRedis
from tests.support.queue_jobs import Jobs, lose
from tests.support.queue_stores import NOW_MS, MemoryQueueTable, stored
from tests.support.stores import create_table

NUMBERS = itertools.count()
NOTE = QueueNote(1000, 60_000)


@pytest.fixture
def queue():
    """One that no other test has."""
    return QueueKey("a", f"q{next(NUMBERS)}-{secrets.token_hex(4)}")


@pytest.fixture(scope="module")
def table_name(aws):
    return create_table(aws.client("dynamodb"), "pk", "sk")


@pytest.fixture(params=["memory", "dynamodb"])
def table(request):
    if request.param == "memory":
        return MemoryQueueTable()
    return DynamoQueues(request.getfixturevalue("aws").client("dynamodb"), request.getfixturevalue("table_name"))


@pytest.fixture(params=["memory", "redis"])
def connection(request):
    """Nodes, and the real clock."""
    if request.param == "memory":
        return MemoryNodes(MemoryRedis(lambda: time.time_ns() // 1_000_000))
    return request.getfixturevalue("redis")


@pytest.fixture
def order(connection, queue):
    """With the queue built and noted."""
    made = RedisQueues(connection)
    assert made.begin(queue).state == BUILDING
    assert made.fill(queue, "", "", True, NOTE, []).state == WHOLE
    return made


def test_messages_are_there_until_they_are_removed(table, queue):
    messages = [stored(number, b'{"n": %d}' % number, due_ms=number % 2 * 7) for number in range(1, 61)]
    table.put(queue, messages)
    table.put(QueueKey("b", queue.name), [stored(99)])
    assert table.bodies(queue, [each.id for each in messages]) == {each.id: each.body for each in messages}
    assert table.page(queue, "", 100) == [(each.id, each.due_ms) for each in messages]
    assert table.page(queue, messages[9].id, 2) == [(each.id, each.due_ms) for each in messages[10:12]]
    table.remove(queue, [each.id for each in messages[:58]])
    table.remove(queue, [messages[0].id])
    assert [message_id for message_id, _ in table.page(queue, "", 100)] == [each.id for each in messages[58:]]
    assert table.bodies(queue, [messages[0].id]) == {}


def test_a_key_is_published_once_until_it_is_forgotten(table, queue):
    first, second, third = stored(1), stored(2), stored(3)
    assert table.put_once(queue, first, "k", 1000, later=False) == first.id
    assert table.put_once(queue, second, "k", 1000 + MESSAGE_KEY_S - 1, later=False) == first.id
    assert table.put_once(queue, second, "ä" * 256, 1000, later=True) == second.id
    assert table.put_once(queue, third, "k", 1000 + MESSAGE_KEY_S, later=False) == third.id
    assert [message_id for message_id, _ in table.page(queue, "", 9)] == [first.id, third.id]
    assert table.count_later(queue) == 1


def test_later_messages_are_found_when_they_are_due(table, queue):
    messages = [stored(number, due_ms=NOW_MS + due_ms) for number, due_ms in enumerate((30, 10, 20), start=1)]
    table.put_later(queue, messages)
    assert table.count_later(queue) == 3 and table.page(queue, "", 9) == []
    due = table.due(queue, NOW_MS + 20, 9)
    assert due == [messages[1], messages[2]] and table.due(queue, NOW_MS + 20, 1) == due[:1]
    assert table.wake(queue, due[0]) and not table.wake(queue, due[0])
    assert table.page(queue, "", 9) == [(due[0].id, due[0].due_ms)]
    assert table.due(queue, NOW_MS + 20, 9) == due[1:]


def test_dead_letters_are_listed_and_revived(table, queue):
    messages = [stored(number) for number in range(1, 5)]
    table.put(queue, messages[:3])
    for each in messages:
        table.bury(queue, each._replace(tries=5, died_s=7))
    letters = table.dead(queue, "", 9)
    assert letters == [each._replace(tries=5, died_s=7) for each in messages[:3]]
    assert (table.page(queue, "", 9), table.count_dead(queue)) == ([], 3)
    assert table.dead(queue, messages[0].id, 1) == letters[1:2]
    assert table.revive(queue, messages[1]) and not table.revive(queue, messages[1])
    assert table.page(queue, "", 9) == [(messages[1].id, 0)]
    table.remove_dead(queue, [messages[0].id])
    assert table.dead(queue, "", 9) == letters[2:]


def test_a_note_only_grows(table, queue):
    assert table.note(queue) is None
    table.make(queue)
    table.make(queue)
    assert table.raise_note(queue, QueueNote()) == QueueNote()
    assert table.raise_note(queue, QueueNote(5, 70)) == QueueNote(5, 70)
    assert table.raise_note(queue, QueueNote(9, 60)) == QueueNote(9, 70)
    table.audited(queue, 3)
    assert table.note(queue) == QueueNote(9, 70, 3)
    assert (queue, QueueNote(9, 70, 3)) in table.queues() and table.queues("b") == []
    assert table.queues(queue.tenant).count((queue, QueueNote(9, 70, 3))) == 1


def test_a_queue_is_lost_until_it_is_built(connection, queue):
    order = RedisQueues(connection)
    message = stored(7)
    assert order.reserve(queue, 1) == Reserved(LOST, 0, 0)
    assert order.push(queue, [(message.id, 0)]) == LOST
    assert order.take(queue, 1, 1000, "t") == Leased(LOST, 0, {}, [])
    assert order.lease(queue, 0, [(message.id, "t")]) == (LOST, [])
    assert order.look(queue).state == LOST
    assert order.fill(queue, "", "", True, NOTE, []).state == LOST
    order.note(queue, NOTE)
    assert (order.begin(queue), order.begin(queue)) == ((BUILDING, ""), (BUILDING, ""))
    for state in (order.reserve(queue, 1).state, order.take(queue, 1, 1000, "t").state, order.look(queue).state):
        assert state == BUILDING
    assert order.push(queue, [(message.id, 0)]) == BUILDING
    assert order.fill(queue, "", "b", False, NOTE, []) == (BUILDING, "b")
    assert order.fill(queue, "", "c", True, NOTE, []) == (BUILDING, "b"), "another caller went on meanwhile"
    assert order.fill(queue, "b", "c", True, NOTE, [(stored(2000).id, 0)]) == (WHOLE, "c")
    assert order.begin(queue) == (WHOLE, "c")
    assert order.reserve(queue, 2) == Reserved(WHOLE, 2001, 1)


def test_numbers_are_given_once(order, queue):
    assert order.reserve(queue, 2).first == 1001
    assert order.reserve(queue, 1).first == 1003


def test_messages_are_leased_in_order_and_come_back(order, queue):
    ids = [stored(number).id for number in range(1, 5)]
    assert order.push(queue, [(each, 0) for each in reversed(ids)]) == WHOLE
    assert order.push(queue, [(ids[0], 0)]) == WHOLE
    assert order.take(queue, 2, 20_000, "a") == Leased(WHOLE, 0, {ids[0]: 1, ids[1]: 1}, [])
    assert order.take(queue, 9, 20_000, "b").messages == {ids[2]: 1, ids[3]: 1}
    assert order.look(queue)[:4] == (WHOLE, 0, 0, 4)
    assert order.lease(queue, 0, [(ids[0], "b"), (ids[1], "a"), (stored(9).id, "a")]) == (WHOLE, [False, True, False])
    assert order.look(queue) == (WHOLE, 1, 0, 3, ids[1])
    assert order.lease(queue, 1, [(ids[0], "a")]) == (WHOLE, [True])
    time.sleep(0.01)
    assert order.take(queue, 9, 20_000, "c").messages == {ids[0]: 2, ids[1]: 2}
    order.forget(queue, ids)
    assert order.look(queue) == (WHOLE, 0, 0, 0, "")


def test_queues_are_ready_with_a_message_or_if_redis_does_not_know(order, queue):
    lost, leased = QueueKey("a", f"{queue.name}-lost"), stored(1).id
    assert order.ready([queue, lost]) == [lost]
    order.push(queue, [(leased, 0)])
    assert order.ready([lost, queue]) == [lost, queue]
    order.take(queue, 1, 20_000, "a")
    assert order.ready([queue]) == [] and order.ready([]) == []


def test_a_queue_whose_master_does_not_answer_is_not_ready(order, connection, queue, monkeypatch):
    away, run = QueueKey("a", f"{queue.name}-away"), connection.run
    order.push(queue, [(stored(1).id, 0)])
    monkeypatch.setattr(connection, "run", lambda calls: [*run(calls)[:-1], RetryableError("it does not answer")])
    assert order.ready([queue, away]) == [queue]
    with pytest.raises(RetryableError):
        order.ready([away])


def test_a_delayed_message_is_ready_when_it_is_due(order, queue):
    soon, never = stored(1).id, stored(2).id
    now_ms = time.time_ns() // 1_000_000
    order.push(queue, [(soon, now_ms + 50), (never, now_ms + 900_000)])
    assert (order.take(queue, 9, 1000, "a").messages, order.look(queue).delayed) == ({}, 2)
    time.sleep(0.06)
    assert order.take(queue, 9, 1000, "a").messages == {soon: 1}


def test_the_table_must_note_what_is_taken_and_for_how_long(order, queue):
    message_id = stored(1001).id
    order.push(queue, [(stored(1).id, 0), (message_id, 0)])
    assert order.take(queue, 9, 60_001, "a") == Leased(UNNOTED, 1001, {}, [])
    assert list(order.take(queue, 9, 60_000, "a").messages) == [stored(1).id]
    assert order.take(queue, 9, 60_000, "a") == Leased(UNNOTED, 1001, {}, [])
    assert order.lease(queue, 60_001, [(stored(1).id, "a")]) == (UNNOTED, [])
    order.note(queue, QueueNote(1001, 70_000))
    order.note(queue, QueueNote(0, 0))
    assert list(order.take(queue, 9, 70_000, "a").messages) == [message_id]


def test_a_message_that_had_all_its_tries_is_set_apart(order, queue):
    message_id = stored(1).id
    order.push(queue, [(message_id, 0)])
    for tries in range(1, 6):
        assert order.take(queue, 9, 60_000, "a").messages == {message_id: tries}
        order.lease(queue, 0, [(message_id, "a")])
    assert order.take(queue, 9, 60_000, "a") == Leased(WHOLE, 0, {}, [message_id])


def test_waiting_takers_are_counted(connection):
    order, tenant = RedisQueues(connection), secrets.token_hex(4)
    assert all(order.enter(tenant, str(taker), 60_000) for taker in range(9))
    assert order.enter(tenant, "9", 1)
    time.sleep(0.01)
    assert order.enter(tenant, "10", 60_000), "one is gone"
    assert not order.enter(tenant, "11", 60_000)
    order.leave(tenant, "10")
    assert order.enter(tenant, "11", 60_000)


def test_a_thousand_jobs_through_killed_workers_a_killed_master_and_a_flushed_redis(cluster, redis, queue):
    """Each acknowledged job was run, none is left, and one is run twice only where its worker died."""
    jobs = Jobs(queue, RedisQueues(redis), MemoryQueueTable(), 1_000)
    jobs.run(lambda: lose(cluster, redis, queue), workers=6)
    assert jobs.left() == (0, 0, 0, 0)
    assert jobs.lost() == set()
    assert jobs.twice() <= jobs.died
    assert len(jobs.died) > 5 and jobs.losses == 2


def test_a_queue_is_cleared_kind_by_kind_and_its_note_goes_last(table, queue):
    other = QueueKey("b", queue.name)
    for each in (queue, other):
        table.make(each)
        table.put(each, [stored(number) for number in (1, 2)])
        table.put_later(each, [stored(3, due_ms=NOW_MS)])
        table.put_once(each, stored(4), " ", NOW_MS // 1000, later=False)
        table.bury(each, stored(2, tries=5))
    assert table.condemn(queue, 100) and table.condemn(queue, 90)
    assert table.note(queue) == QueueNote(deleted_s=100)
    assert table.clear(queue, 2) == 2
    assert (table.clear(queue, 100), table.clear(queue, 100)) == (3, 0)
    assert (table.page(queue, "", 9), table.dead(queue, "", 9), table.count_later(queue)) == ([], [], 0)
    assert (len(table.page(other, "", 9)), table.count_dead(other), table.count_later(other)) == (2, 1, 1)
    table.end(queue, QueueNote(deleted_s=90))
    assert table.note(queue)
    table.end(queue, QueueNote(deleted_s=100))
    assert table.note(queue) is None and table.raise_note(queue, NOTE) is None
    table.audited(queue, 7)
    assert not table.condemn(queue, 200) and table.note(queue) is None


def test_a_queue_that_is_dropped_is_lost(order, queue):
    assert order.push(queue, [(stored(1).id, 0)]) == WHOLE
    order.drop(queue)
    assert (order.look(queue).state, order.reserve(queue, 1).state) == (LOST, LOST)

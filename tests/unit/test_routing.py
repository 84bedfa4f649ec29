"""Who hears of an alert: notification groups that name each other, as a plain walk over them has it."""

import random

import pytest
from carbyne.core.limits import CHANNELS_PER_TENANT_MAX, GROUP_MEMBERS_MAX
from carbyne.notify.routing import GroupIndex
from carbyne.registry.channels import DEFAULT, GroupMonitor, GroupService, NotificationGroup

MONITORS, SERVICES = [f"m{each}" for each in range(4)], [f"s{each}" for each in range(4)]


def plainly(groups, monitor, roles, is_critical):
    """By following every way through the groups."""
    by_id = {group.id: group for group in groups}
    named = [
        group
        for group in groups
        if group.id != DEFAULT
        and (
            any(each.id == monitor for each in group.monitors or ())
            or any(each.name in roles for each in group.services or ())
        )
    ]
    skips = any(each.id == monitor and each.skip_default for group in named for each in group.monitors or ())

    def below(group, way):
        if group.id in way or (group.notification_level == "critical" and not is_critical):
            return set()
        ids = set(group.child_channel_ids or ())
        for child in group.child_notification_group_ids or ():
            if child in by_id:
                ids |= below(by_id[child], [*way, group.id])
        return ids

    roots = named if skips else [*named, by_id[DEFAULT]]
    return sorted(set().union(*(below(root, []) for root in roots)))


@pytest.mark.parametrize("seed", range(4))
def test_groups_are_followed_as_a_plain_walk_follows_them(seed):
    rng = random.Random(seed)
    for _ in range(100):
        ids = [DEFAULT, "g1", "g2", "g3", "g4", "gone"]
        groups = [
            NotificationGroup(
                id=each,
                name=each,
                notification_level=rng.choice(["all", "all", "critical"]),
                child_notification_group_ids=rng.sample(ids, rng.randrange(3)),
                child_channel_ids=[f"c{rng.randrange(9)}" for _ in range(rng.randrange(3))],
                monitors=[GroupMonitor(name, rng.random() < 0.3) for name in rng.sample(MONITORS, rng.randrange(2))],
                services=[GroupService(name) for name in rng.sample(SERVICES, rng.randrange(2))],
            )
            for each in ids[:-1]
        ]
        index = GroupIndex(groups)
        for monitor in MONITORS:
            roles = {name: [] for name in rng.sample(SERVICES, 2)}
            for is_critical in (True, False):
                got = index.hearers(monitor, roles, is_critical=is_critical)
                assert got == plainly(groups, monitor, roles, is_critical)


def test_groups_that_all_name_each_other_cost_a_notice_little():
    """As many as a tenant may have, each with all others in it: a walk of its own from each took minutes a notice."""
    ids = [f"g{each:010d}" for each in range(CHANNELS_PER_TENANT_MAX)]
    monitors = [GroupMonitor(f"m{each}") for each in range(GROUP_MEMBERS_MAX)]
    groups = [
        NotificationGroup(
            id=each, name=each, child_notification_group_ids=ids, child_channel_ids=ids, monitors=monitors[number:]
        )
        for number, each in enumerate(ids)
    ]
    index = GroupIndex([*groups, NotificationGroup(id=DEFAULT, name="Default")])
    for monitor in monitors[::25]:
        assert index.hearers(monitor.id, {}, is_critical=True) == ids

"""The bench of a lost Redis in small: it is whole within minutes, from its mark, and every sample is back."""

from bench.recovery import recover


def test_a_lost_redis_is_whole_again_within_minutes(cluster):
    recovery = recover(cluster, hosts=1000, hours=1, scale=250)
    assert recovery.wrong == 0
    assert recovery.whole_s <= 360 and recovery.open_503_s <= 300
    assert recovery.fullest < 0.7

"""Requests that are made to hurt: each costs its sender the 6 MB of one event at most."""

from carbyne.core.limits import BODY_BYTES_MAX

GOOD = '{"hostId":"h","name":"m","time":1700000000,"value":1}'
HOST = "/api/v0/hosts/host1"
LONG = "x" * 3_000


def filled(start, unit, end):
    """``unit`` between the two as often as a body holds it."""
    return start + unit * ((BODY_BYTES_MAX - len(start) - len(end)) // len(unit)) + end


def nested(levels, opening="[", closing="]"):
    return opening * levels + "1" + closing * levels


def listed(element, count):
    return f"[{','.join([element] * count)}]"


KEPT = {
    "982 levels": nested(982),
    "9,998 levels": nested(9_998),
    "9,998 levels of objects": nested(9_998, '{"a":', "}"),
    "brackets": filled("", "[", ""),
    "empty arrays": filled("[", "[],", "1]"),
    "empty texts": filled("[", '"",', "1]"),
    "quotes": filled("", '"', ""),
    "backslashes": filled('"', "\\", ""),
    "half a pair": '"\\ud800"',
}
SAMPLES = {
    "a deep element": f"[{GOOD},{{{GOOD[1:-1]},{chr(34)}a{chr(34)}:{nested(100_000)}}}]",
    "brackets": f"[{GOOD},{{{chr(34)}a{chr(34)}:{nested(2_900_000)}}}]",
    "deep with commas": '[{"a":' + nested(1_200_000, "[1,") + "}]",
    "deep with names": '[{"a":' + nested(850_000, '[{"":', "}]") + "}]",
    "half pairs": listed(GOOD.replace('"h"', '"\\ud800"'), 50_000),
    "bytes of half pairs": listed(GOOD.replace('"h"', '"\ud800"'), 50_000),
    "minus zero": listed(GOOD.replace(":1}", ":-0}"), 100_000),
    "whole floats": listed(GOOD.replace("000,", "000.0,"), 80_000),
    "empty objects": listed("{}", 200_000),
    "too many and one deep": listed("{}", 1_500_000)[:-1] + f',{{"a":{nested(5_000)}}}]',
}
READS = [
    *(f"/api/v0/hosts/{LONG}{rest}" for rest in ("", "/metrics?name=m&from=0&to=9", "/metric-names", "/metadata")),
    *(f"/api/v0/services/{LONG}{rest}" for rest in ("/metrics?name=m&from=0&to=9", "/metric-names", "/roles")),
    f"/api/v0/hosts/{LONG}/monitored-statuses",
    f"/api/v0/hosts-by-custom-identifier/{LONG}",
    f"/api/v0/hosts?customIdentifier={LONG}",
    f"/api/v0/hosts/host1/metadata/{LONG}",
    f"/api/v0/tsdb/latest?name=m&hostId={LONG}",
    "/api/v0/tsdb/latest?name=m&" + "&".join(f"hostId=h{number}" for number in range(1_000)),
    f"/carbyne/v1/storage?from=1&to=2&source=host/{LONG}",
    f"/api/v0/hosts/host1/metrics?name={LONG}&from=0&to=9",
]
REQUESTS = {
    **{f"metadata: {name}": ("PUT", f"{HOST}/metadata/env", body) for name, body in KEPT.items()},
    **{f"meta: {name}": ("PUT", HOST, f'{{"name":"x","meta":{{"a":{body}}}}}') for name, body in KEPT.items()},
    **{f"samples: {name}": ("POST", "/api/v0/tsdb", body) for name, body in SAMPLES.items()},
    **{f"GET {path[:60]} {number}": ("GET", path, None) for number, path in enumerate(READS)},
    "a long source": ("DELETE", f"/carbyne/v1/samples?source=host/{LONG}", None),
    "a long graph": ("DELETE", "/api/v0/graph-defs", {"name": LONG}),
}

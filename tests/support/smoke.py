"""``make smoke URL=... KEY=...``: post a sample, read it back, print how long that took.

Works against a deployed stack and against ``make run``.  Exit status 1 says what went wrong.
"""

import json
import random
import sys
import time
import urllib.error
import urllib.request

HOST = "smoke"
MINUTE_S = 60
READ_S = 60.0
PAUSE_S = 0.2


def call(url, key, body=None):
    """The parsed body of a successful answer; urllib's errors for another."""
    headers = {"X-Api-Key": key, "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as answer:
        return json.load(answer)


def read(url, key, time_s):
    """The value at ``time_s``, None as long as it can't be read."""
    query = f"name=custom.smoke&from={time_s}&to={time_s}"
    try:
        points = call(f"{url}/api/v0/hosts/{HOST}/metrics?{query}", key)["metrics"]
    except urllib.error.HTTPError as error:
        if error.code not in (404, 503):  # nothing yet, or lanes that are being prepared
            raise
        return None
    return next((point["value"] for point in points if point["time"] == time_s), None)


def smoke(url, key):
    """(seconds until the post was acknowledged, seconds from then until it was read back)."""
    time_s, value = int(time.time()) // MINUTE_S * MINUTE_S, random.randrange(1_000_000)  # as samples are kept
    start_s = time.monotonic()
    call(f"{url}/api/v0/tsdb", key, [{"hostId": HOST, "name": "custom.smoke", "time": time_s, "value": value}])
    acknowledged_s = time.monotonic()
    while (value_read := read(url, key, time_s)) != value:
        if time.monotonic() - acknowledged_s > READ_S:
            raise TimeoutError(f"acknowledged, but after {READ_S:.0f} s a read still gives {value_read}")
        time.sleep(PAUSE_S)
    return acknowledged_s - start_s, time.monotonic() - acknowledged_s


def main(url, key):
    if not (url and key):
        print("usage: make smoke URL=https://... KEY=cb_...", file=sys.stderr)
        return 2
    try:
        post_s, lag_s = smoke(url.rstrip("/"), key)
    except urllib.error.HTTPError as error:
        print(f"smoke: {error.url} answers {error.code}: {error.read().decode()[:200]}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"smoke: {error}", file=sys.stderr)
        return 1
    print(f"posted in {post_s * 1000:.0f} ms, readable {lag_s * 1000:.0f} ms later")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))

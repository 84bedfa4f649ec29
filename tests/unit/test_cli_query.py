"""``carbyne query``: what it asks, and how it prints what comes."""

import json

import pytest
from carbyne.cli import main
from carbyne.cli.desk import Desk
from carbyne.core.errors import RetryableError


class Asked(Desk):
    """Notes requests, and answers with ``data``."""

    def __init__(self, data=None, status=200, **more):
        self.answer = status, json.dumps({"status": "success", "data": data, **more}).encode()
        self.asked = []

    def now_s(self):
        return 10_003

    def post_form(self, url, headers, form):
        self.asked.append((url, headers, form))
        return self.answer


VECTOR = {
    "resultType": "vector",
    "result": [{"metric": {"__name__": "up", "job": "a"}, "value": [1, "1"]}, {"metric": {}, "value": [1, "NaN"]}],
}
MATRIX = {
    "resultType": "matrix",
    "result": [
        {"metric": {"job": "a"}, "values": [[0, "1"], [30, "3"], [60, "2"]]},
        {"metric": {"job": "b"}, "values": [[30, "NaN"]]},
    ],
}


def run(desk, *arguments):
    return main(["query", *arguments, "--url", "http://there", "--key", "k"], desk)


def test_one_time(capsys):
    desk = Asked(VECTOR, infos=["by the way"])
    assert run(desk, "up") == 0
    assert desk.asked == [("http://there/api/v1/query", {"X-Api-Key": "k"}, {"query": "up"})]
    assert capsys.readouterr() == ('up{job="a"}\t1\n{}\tNaN\n', "by the way\n")


def test_a_scalar(capsys):
    assert run(Asked({"resultType": "scalar", "result": [1, "2.5"]}), "2.5") == 0
    assert capsys.readouterr().out == "\t2.5\n"


def test_a_span(capsys):
    desk = Asked(MATRIX)
    assert run(desk, "x", "--last", "1h", "--step", "1m") == 0
    [(url, _, form)] = desk.asked
    assert url.endswith("/query_range")
    assert form == {"query": "x", "start": "6360", "end": "9960", "step": "60"}
    assert capsys.readouterr().out == '{job="a"}\t3\t1\t2\t3\t2\n{job="b"}\t1\tnan\tnan\tnan\tnan\n'
    run(desk, "x", "--last", "1h")
    assert desk.asked[-1][2]["step"] == "15"


def test_columns(capsys):
    assert run(Asked(MATRIX), "x", "--last", "1h", "--csv") == 0
    assert capsys.readouterr().out == 'time,"{job=""a""}","{job=""b""}"\n0,1,\n30,3,NaN\n60,2,\n'


def test_a_graph(capsys):
    assert run(Asked(MATRIX), "x", "--last", "1h", "--graph") == 0
    drawn = capsys.readouterr().out
    assert "a" in drawn and '{job="a"}' in drawn and '{job="b"}' not in drawn
    assert "\x1b[" not in drawn


def test_a_graph_of_one_series_rises_and_falls(capsys):
    answer_of_one = {
        "resultType": "matrix",
        "result": [{"metric": {"job": "a"}, "values": [[0, "1"], [30, "3"], [60, "2"]]}],
    }
    assert run(Asked(answer_of_one), "x", "--last", "1h", "--graph") == 0
    rows = [line.partition("| ")[2] for line in capsys.readouterr().out.splitlines() if "| " in line]
    inked = [[at for at, character in enumerate(row) if character > "\u2800"] for row in rows]
    highest = next(columns for columns in inked if columns)
    lowest = [columns for columns in inked if columns][-1]
    assert len(rows) > 10 and min(lowest) < min(highest)


def test_a_graph_shows_some_of_many_series(capsys):
    many = [{"metric": {"n": str(n)}, "values": [[0, "1"], [60, str(n)]]} for n in range(12)]
    assert run(Asked({"resultType": "matrix", "result": many}), "x", "--last", "1h", "--graph") == 0
    out, said = capsys.readouterr()
    assert said == "8 of 12 series are shown: aggregate, or use topk()\n"
    assert 'n="7"' in out and 'n="8"' not in out


def test_on_a_terminal_a_graph_has_colours(capsys, monkeypatch):
    desk = Asked(MATRIX)
    monkeypatch.setattr(desk, "is_terminal", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run(desk, "x", "--last", "1h", "--graph") == 0
    assert "\x1b[" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"status": "error", "errorType": "bad_data", "error": "no such thing"}, "no such thing"),
        ({"error": {"message": "no key"}}, "no key"),
    ],
)
def test_refusals_are_the_servers_words(capsys, body, says):
    desk = Asked()
    desk.answer = 400, json.dumps(body).encode()
    assert run(desk, "x") == 1
    assert capsys.readouterr().err == f"carbyne: {says}\n"


def test_what_is_no_carbyne(capsys):
    desk = Asked()
    desk.answer = 200, b"<html>"
    assert run(desk, "x") == 1
    assert "is it Carbyne's URL?" in capsys.readouterr().err


def test_a_url_must_be_one():
    with pytest.raises(Exception, match="begins with http"):
        Desk().post_form("file:///etc/passwd", {}, {})
    with pytest.raises(RetryableError, match="does not answer"):
        Desk().post_form("http://127.0.0.1:1", {}, {})


@pytest.mark.parametrize("duration", ["6", "0h", "h", "1y"])
def test_durations_are_checked(duration):
    with pytest.raises(SystemExit):
        run(Asked(MATRIX), "x", "--last", duration)

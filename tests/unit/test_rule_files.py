"""Rule files of Prometheus: what is read, what is refused in which words, and how they are kept."""

import pytest
import yaml
from carbyne.cli import main
from carbyne.cli.desk import Desk
from carbyne.core.errors import RequestError
from carbyne.core.limits import RULE_FILE_BYTES_MAX, RULE_FILES_PER_TENANT_MAX, RULE_GROUPS_PER_FILE_MAX
from carbyne.registry import rule_files
from carbyne.rules.files import read
from carbyne.rules.forms import FileGroup, GroupRule, duration_ms

from tests.support.registry_system import System

WHOLE = """
groups:
  - name: web
    interval: 90s
    query_offset: 1m
    limit: 10
    labels: {team: core}
    rules:
      - record: job:requests:rate5m
        expr: sum by (job) (rate(http_requests_total[5m]))
        labels: {shard: 1}
      - alert: High   # a comment
        expr: |
          job:requests:rate5m
            > 100
        for: 1h30m
        keep_firing_for: 5m
        labels: {severity: page}
        annotations:
          summary: "{{ $labels.job }}: {{ $value | humanize }}"
  - name: empty
"""
RULES = [
    GroupRule(
        record="job:requests:rate5m",
        expr="sum by (job) (rate(http_requests_total[5m]))",
        labels={"shard": "1"},
    ),
    GroupRule(
        alert="High",
        expr="job:requests:rate5m\n  > 100",
        hold="1h30m",
        keep_firing_for="5m",
        labels={"severity": "page"},
        annotations={"summary": "{{ $labels.job }}: {{ $value | humanize }}"},
    ),
]


def test_everything_that_a_file_may_hold():
    [web, empty] = read(WHOLE.encode(), "a.yml").groups
    assert web == FileGroup(
        name="web", interval="90s", query_offset="1m", limit=10, labels={"team": "core"}, rules=RULES
    )
    assert empty == FileGroup(name="empty", rules=[])
    assert (web.interval_s, web.offset_ms, empty.interval_s) == (120, 60_000, 60)
    assert (RULES[1].hold_ms, RULES[1].keep_ms, RULES[0].hold_ms) == (5_400_000, 300_000, 0)
    assert web.remarks() == ["group 'web': the interval 90s becomes 120 s: groups are evaluated at whole minutes"]
    assert read(b"", "a.yml").groups == read(b"groups:\n", "a.yml").groups == []


def rule(text, head="groups:\n- name: g\n  rules:\n  - "):
    return head + text.replace("\n", "\n    ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("groups: }", "f:1: this is no YAML: "),
        ("a: 1", "f:1: 'a' is no field; there are groups"),
        ("[]", "f:1: a mapping is expected here, with groups"),
        ("groups: x", "f:1: groups: a list is expected"),
        ("groups: [1]", "f:1: group 1, a mapping is expected here, with name, interval"),
        ("groups:\n- rules: []", "f:2: group 1, name is missing"),
        ("groups:\n- name: g\n- name: g", "f:3: group 'g' is there twice"),
        ("groups:\n- name: g\n  name: h", "f:3: 'name' is there twice"),
        ("groups:\n- name: &x g\n- name: *x", "f:2: anchors and aliases are not read"),
        ('a: "\\UFFFFFFFF"', "f:1: this is no YAML: a number is too large"),
        ('a: "\\U00110000"', "f:1: this is no YAML: a number is too large"),
        ("%YAML " + "9" * 5000 + ".1\n---\na", "f:1: this is no YAML: a number is too large"),
        ("groups: !!python/object:os.system {}", "f:1: tags are not read"),
        ("--- {groups: []}\n--- {}", "f:2: a second document"),
        ("[" * 1_000, "f:1: nested deeper than 12 levels"),
        ("groups:\n- name: g\n  interval: 5", "f:3: group 'g', interval: '5' is no duration"),
        ("groups:\n- name: g\n  interval: 99y", "f:3: group 'g', interval: '99y' is longer than ten years"),
        ("groups:\n- name: g\n  limit: 1.5", "f:3: group 'g', limit: '1.5' is no whole number"),
        ("groups:\n- name: g\n  limit: -1", "f:3: group 'g', limit: '-1' is no whole number"),
        ("groups:\n- name: g\n  labels: {0a: x}", "f:3: group 'g', labels.0a: the name of a label has letters"),
        ("groups:\n- name: g\n  foo: x", "f:3: group 1, 'foo' is no field"),
        (rule("expr: up"), "f:4: group 'g', rule 1, exactly one of record and alert must be set"),
        (rule("record: a\nalert: b\nexpr: up"), "f:4: group 'g', rule 1, exactly one of record and alert must be set"),
        (rule("alert: b"), "f:4: group 'g', rule 1 ('b'), expr is missing"),
        (rule("alert: b\nexpr: rate(x)"), "f:5: group 'g', rule 1 ('b'), expr: expected type matrix"),
        (rule("alert: b\nexpr: x[5m]"), "f:5: group 'g', rule 1 ('b'), expr: it gives a matrix; a rule needs"),
        (rule("alert: b\nexpr: '\"x\"'"), "f:5: group 'g', rule 1 ('b'), expr: it gives a string; a rule needs"),
        (rule("alert: b\nexpr: histogram_avg(x)"), "f:5: group 'g', rule 1 ('b'), expr: histogram_avg() is not served"),
        (rule("record: b\nexpr: x\nfor: 5m"), "f:6: group 'g', rule 1 ('b'), for: only alerting rules have it"),
        (rule("record: b\nexpr: x\nannotations: {a: b}"), "f:6: group 'g', rule 1 ('b'), annotations: only"),
        (rule("record: a{b}\nexpr: x"), "f:4: group 'g', rule 1 ('a{b}'), record: a name has no braces"),
        (rule("alert: b\nexpr: x\nlabels: {__name__: y}"), "f:6: group 'g', rule 1 ('b'), labels.__name__: the name"),
        (rule("alert: b\nexpr: x\nlabels: {a: [1]}"), "f:6: group 'g', rule 1 ('b'), text is expected here"),
        (
            rule("alert: b\nexpr: x\nannotations: {a: '{{ query `up` }}'}"),
            "f:6: group 'g', rule 1 ('b'), annotations.a: query: queries are not served in templates",
        ),
        (rule("alert: b\nexpr: x\nlabels: {a: '{{ $x }}'}"), "f:6: group 'g', rule 1 ('b'), labels.a: undefined"),
        (rule('alert: "b\\0"\nexpr: x'), "f:4: group 'g', rule 1, text can't have the character NUL"),
    ],
)
def test_a_refusal_names_line_group_rule_and_field(text, message):
    with pytest.raises(RequestError) as refused:
        read(text.encode(), "f")
    assert refused.value.message.startswith(message), refused.value.message
    assert refused.value.status == 400


def test_what_was_loaded_may_be_put_back():
    """As JSON it is longer than the YAML that was loaded."""
    rules = "".join(f"  - {{record: r{number}, expr: '{'x' * 1000}'}}\n" for number in range(50))
    groups = "".join(f"- name: g{number}\n  rules:\n{rules}" for number in range(5))
    system = System()
    system.ok("PUT", URL, f"groups:\n{groups}")
    answer = system.call("GET", URL)
    assert 250_000 < len(answer.text) <= RULE_FILE_BYTES_MAX
    system.ok("PUT", URL, answer.text)
    assert system.call("GET", URL).text == answer.text


def test_files_are_bounded():
    with pytest.raises(RequestError, match="at most 262144") as refused:
        read(b" " * (RULE_FILE_BYTES_MAX + 1), "f")
    assert refused.value.status == 413
    with pytest.raises(RequestError, match="a file has at most 50"):
        read(yaml.dump({"groups": [{"name": str(n)} for n in range(RULE_GROUPS_PER_FILE_MAX + 1)]}).encode(), "f")
    with pytest.raises(RequestError, match="a group has at most 100"):
        read(yaml.dump({"groups": [{"name": "a", "rules": [1] * 101}]}).encode(), "f")
    with pytest.raises(RequestError, match="more than 20000 values"):
        read(b"[" + b"1," * 20_001 + b"]", "f")
    with pytest.raises(RequestError, match="not UTF-8"):
        read(b"\xff", "f")


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0", 0),
        ("1d2h3m4s5ms", 93_784_005),
        ("1y", 31_536_000_000),
        ("", None),
        ("1", None),
        ("1m1h", None),
        ("\u0663m", None),
    ],
)
def test_durations(text, ms):
    assert duration_ms(text) == ms


URL = "/carbyne/v1/rules/web.yml"


def test_a_file_is_kept_listed_replaced_and_deleted():
    system = System()
    made = system.ok("PUT", URL, WHOLE)
    assert (made["name"], made["groups"], made["rules"]) == ("web.yml", 2, 2)
    assert made["remarks"] and made["changedAt"] == "2023-11-14T22:13:20Z"
    kept = system.ok("GET", URL)
    assert kept["groups"][0]["rules"][1]["for"] == "1h30m"
    assert system.ok("PUT", URL, kept) == made, "what is answered may be put back"
    assert [each["name"] for each in system.ok("GET", "/carbyne/v1/rules")["files"]] == ["web.yml"]
    assert system.call("GET", URL, key="key-b").status == 404
    assert system.ok("DELETE", URL) == kept
    assert system.call("DELETE", URL).status == 404
    assert system.ok("GET", "/carbyne/v1/rules") == {"files": []}


def test_only_a_group_that_changes_begins_again():
    system = System()
    system.ok("PUT", URL, WHOLE)
    first_ms = system.now_s * 1000
    system.now_s += 100
    system.ok("PUT", URL, WHOLE.replace("> 100", "> 200"))
    [file] = rule_files.find(system.store, "a")
    assert file.since_ms == {"web": system.now_s * 1000, "empty": first_ms}


def test_files_of_a_tenant_are_bounded_and_named_plainly():
    system = System()
    assert "name has 1 to 128" in system.refused(400, "PUT", "/carbyne/v1/rules/a%20b", WHOLE)
    for number in range(RULE_FILES_PER_TENANT_MAX):
        system.ok("PUT", f"/carbyne/v1/rules/{number}.yml", WHOLE)
    assert "10 rule files, which is the limit" in system.refused(400, "PUT", URL, WHOLE)
    system.ok("PUT", "/carbyne/v1/rules/0.yml", "groups: []")


def test_a_file_whose_groups_have_too_long_names_for_an_item_is_refused():
    """Their names stand in it twice."""
    groups = [{"name": f"{number:02}" + '"' * 2_038, "rules": [{"record": "a", "expr": "up"}]} for number in range(50)]
    refusal = System().refused(413, "PUT", URL, {"groups": groups})
    assert "the names of its groups are too long together" in refusal


def test_a_file_that_is_too_large_as_json_is_refused():
    """YAML writes a control character in two bytes, JSON in six, and the name of a group is stored twice."""
    groups = "".join(f'- {{name: "{number}NAME", rules: []}}\n' for number in range(30)).replace("NAME", "\\a" * 2_000)
    refusal = System().refused(413, "PUT", URL, f"groups:\n{groups}")
    assert "bytes as JSON; a rule file has at most 262144" in refusal


class Door(Desk):
    """Asks a registry in this process."""

    def __init__(self):
        self.system = System()

    def ask(self, method, url, headers, body=None):
        answer = self.system.call(
            method, url.removeprefix("http://there"), body.decode() if body else None, headers["X-Api-Key"]
        )
        return answer.status, answer.text.encode()


def run(desk, *arguments):
    return main(["rules", *arguments, "--url", "http://there", "--key", "key-a"], desk)


def test_the_command_line_loads_lists_shows_and_deletes(tmp_path, capsys):
    desk, file = Door(), tmp_path / "web.yml"
    file.write_text(WHOLE)
    assert main(["rules", "check", str(file)], desk) == 0
    assert capsys.readouterr().out == f"{file}: 2 groups, 2 rules\n"
    assert run(desk, "load", str(file)) == 0
    assert run(desk, "list") == 0
    assert capsys.readouterr().out == "web.yml: 2 groups, 2 rules\nweb.yml\t2\t2\t2023-11-14T22:13:20Z\n"
    assert run(desk, "show", "web.yml") == 0
    shown = capsys.readouterr().out
    assert read(shown.encode(), "shown") == read(WHOLE.encode(), "given")
    assert run(desk, "delete", "web.yml") == 0
    assert run(desk, "show", "web.yml") == 1
    assert capsys.readouterr().err.endswith("rule file 'web.yml' is unknown\n")


def test_the_command_line_refuses_before_it_asks(tmp_path, capsys):
    file = tmp_path / "bad.yml"
    file.write_text("groups: x")
    assert run(Door(), "load", str(file)) == 1
    assert capsys.readouterr().err == f"carbyne: {file}:1: groups: a list is expected\n"
    assert run(Door(), "load", str(tmp_path / "none.yml")) == 1
    assert "can't be read: No such file" in capsys.readouterr().err

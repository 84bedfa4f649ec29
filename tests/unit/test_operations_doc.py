"""docs/operations.md says of every parameter, output and alarm what it is."""

import re
from pathlib import Path

from harness.template import template

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = template()
DOC = (ROOT / "docs" / "operations.md").read_text()


def entries(title):
    """(marked words of the head, text after the colon) of each item of the first list below a heading."""
    section = DOC.split(f"\n## {title}\n")[1].split("\n## ")[0]
    for item in re.split(r"^- ", section, flags=re.MULTILINE)[1:]:
        head, _, text = " ".join(item.split("\n\n")[0].split()).partition(": ")
        yield re.findall(r"(?:`|\*\*)(.+?)(?:`|\*\*)", head), text


def after(line):
    """The cells of the table that comes after a line."""
    return table(DOC.split(f"\n{line}\n\n")[1].split("\n\n")[0])


def table(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]


def test_it_opens_with_what_no_test_here_can_show():
    assert DOC.split("\n## ")[1].startswith("What only AWS can show")
    assert "has not run on AWS yet" in DOC


def test_every_parameter_is_explained_as_the_template_does():
    described = {
        name: ([str(body["Default"])] if body["Default"] != "" else [], body["Description"])
        for name, body in TEMPLATE["Parameters"].items()
    }
    assert {name: (default, text) for (name, *default), text in entries("Parameters")} == described


def test_every_output_is_explained():
    described = {name: body["Description"] for name, body in TEMPLATE["Outputs"].items()}
    assert {name: text for (name,), text in entries("Outputs")} == described


def test_every_alarm_has_a_remedy():
    explained = {f"{name}Alarm" for names, _ in entries("Alarms and what to do") for name in names}
    assert explained == {n for n, body in TEMPLATE["Resources"].items() if body["Type"] == "AWS::CloudWatch::Alarm"}


def test_the_price_of_alarms_is_that_of_their_metrics():
    alarms = [r["Properties"] for r in TEMPLATE["Resources"].values() if r["Type"] == "AWS::CloudWatch::Alarm"]
    metrics = sum(sum("MetricStat" in part for part in alarm.get("Metrics", [])) or 1 for alarm in alarms)
    assert f"{metrics} alarmed metrics ${metrics * 0.1:.2f}" in " ".join(DOC.split())


def test_profiles_and_retentions_are_told_as_they_are():
    told = {cell for title in ("Profile", "Retention") for row in after(f"`{title}`:") for cell in row[1:]}
    for profile in TEMPLATE["Mappings"]["Profiles"].values():
        size = f"{profile['NodeType']}, {profile['Replicas']}"
        limit = f"{profile['Requests']:,}, {profile['Burst']:,}"
        memory = {f"{profile[name]:,}" for name in ("Writer", "Registry", "Sealer")}
        assert {size, limit, *memory} <= told
        assert {profile[name] for name in ("Ingester", "Sealer", "Archiver", "Reader")} == {profile["Sealer"]}
    for kept in TEMPLATE["Mappings"]["Retentions"].values():
        assert {f"{kept[name] // 86_400:,} d" for name in ("ColdRaw", "Cold1h", "Cold1d")} <= told
        assert ", ".join(f"{kept[name] // 86_400:,} d" for name in ("Warm5m", "Warm1h", "Warm1d")) in told
        assert kept["ColdRaw"] == kept["Cold5m"]


def test_every_function_has_an_event_to_call_it_with():
    section = DOC.split("\n## A function in Lambda's container\n")[1].split("\n## ")[0]
    named = dict(re.findall(r"sam local invoke --config-env x86_64 (\w+) -e .carbyne/events/([\w-]+)\.json", section))
    functions = {n for n, body in TEMPLATE["Resources"].items() if body["Type"] == "AWS::Serverless::Function"}
    assert named.keys() == functions
    for event in named.values():
        assert (ROOT / "events" / f"{event}.json").exists()

"""docs/operations.md says of every parameter, output and alarm what it is."""

import re
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = yaml_parse((ROOT / "template.yaml").read_text())
DOC = (ROOT / "docs" / "operations.md").read_text()


def rows(title):
    """The cells of the table below a heading."""
    section = DOC.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"][
        2:
    ]


def test_it_opens_with_what_nobody_has_seen_yet():
    assert DOC.split("\n## ")[1].startswith("What only AWS can show")
    assert "Nobody has run this on AWS yet" in DOC


def test_every_parameter_is_explained_as_the_template_does():
    wanted = {
        name: (f"`{body['Default']}`" if body["Default"] != "" else "empty", body["Description"])
        for name, body in TEMPLATE["Parameters"].items()
    }
    assert {name.strip("`"): (default, text) for name, default, text in rows("Parameters")} == wanted


def test_every_output_is_explained():
    wanted = {name: body["Description"] for name, body in TEMPLATE["Outputs"].items()}
    assert {name.strip("`"): text for name, text in rows("Outputs")} == wanted


def test_every_alarm_has_a_remedy():
    told = {f"{name}Alarm" for names, _ in rows("Alarms and what to do") for name in names.split(", ")}
    assert told == {n for n, body in TEMPLATE["Resources"].items() if body["Type"] == "AWS::CloudWatch::Alarm"}


def test_every_function_has_an_event_to_call_it_with():
    section = DOC.split("\n## A function in Lambda's container\n")[1].split("\n## ")[0]
    named = dict(re.findall(r"sam local invoke (\w+) -e events/([\w-]+)\.json", section))
    functions = {n for n, body in TEMPLATE["Resources"].items() if body["Type"] == "AWS::Serverless::Function"}
    assert named.keys() == functions
    for event in named.values():
        assert (ROOT / "events" / f"{event}.json").exists()

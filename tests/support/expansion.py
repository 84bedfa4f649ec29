"""What CloudFormation makes of template.yaml: transformed by SAM, with parameters, mappings and conditions worked out.

``python -m tests.support.expansion [COMMIT]`` lists what differs between a commit's template (HEAD unless given) and
the present one.  Functions of which only AWS knows the result (GetAtt, Ref of a resource) stay as they are.
"""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

from moto.iam.aws_managed_policies import aws_managed_policies_data
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from harness.template import parsed

ROOT = Path(__file__).resolve().parents[2]
MANAGED = json.loads(aws_managed_policies_data)
NO_VALUE = object()
EXISTING = {"RedisEndpoint": "redis:6379", "VpcSubnetIds": "subnet-0a,subnet-0b", "VpcSecurityGroupIds": "sg-0c"}


def transform(text):
    """The template as SAM hands it to CloudFormation."""
    managed = {name: f"arn:aws:iam::aws:policy{body['Path']}{name}" for name, body in MANAGED.items()}
    template = parsed(text)
    for body in template["Resources"].values():
        for key in ("CodeUri", "ContentUri"):  # folders until `sam package` has put them into a bucket
            if key in body.get("Properties", {}):
                body["Properties"][key] = "s3://bucket/key"
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    return Translator(managed, Parser()).translate(json.loads(json.dumps(template)), {})


class Expansion:
    """``resources``: those whose condition holds, resolved; ``refusals``: texts of the rules that are broken."""

    def __init__(self, stack, given=None, stack_id=None):
        stack_id = stack_id or "arn:aws:cloudformation:us-east-1:123456789012:stack/carbyne/11f0c3a0-0000-11f0-0000-0a"
        partition, region, account, name = (stack_id.replace("/", ":").split(":")[i] for i in (1, 3, 4, 6))
        self.stack = stack
        self.known = {parameter: body["Default"] for parameter, body in stack["Parameters"].items()}
        self.known |= {**(given or {}), "AWS::StackId": stack_id, "AWS::StackName": name, "AWS::NoValue": NO_VALUE}
        self.known |= {"AWS::Partition": partition, "AWS::Region": region, "AWS::AccountId": account}
        self.resources = {
            name: self.value(body)
            for name, body in stack["Resources"].items()
            if self.holds({"Condition": body["Condition"]} if "Condition" in body else True)
        }
        self.refusals = [
            assertion["AssertDescription"]
            for rule in stack.get("Rules", {}).values()
            if self.holds(rule.get("RuleCondition", True))
            for assertion in rule["Assertions"]
            if not self.holds(assertion["Assert"])
        ]

    def holds(self, condition):
        """A condition as true or false."""
        match condition:
            case bool():
                return condition
            case {"Condition": name}:
                return self.holds(self.stack["Conditions"][name])
            case {"Fn::Equals": [left, right]}:
                return str(self.value(left)) == str(self.value(right))
            case {"Fn::Not": [negated]}:
                return not self.holds(negated)
            case {"Fn::And": several}:
                return all(map(self.holds, several))
            case {"Fn::Or": several}:
                return any(map(self.holds, several))
        raise ValueError(f"not a condition: {condition}")

    def value(self, node):
        """A node with what is known put in."""
        match node:
            case {"Ref": name} if name in self.known:
                return self.known[name]
            case {"Fn::If": [name, yes, no]}:
                return self.value(yes if self.holds({"Condition": name}) else no)
            case {"Fn::FindInMap": [name, key, field]}:
                return self.stack["Mappings"][name][str(self.value(key))][str(self.value(field))]
            case {"Fn::Select": [index, several]} if isinstance(expanded := self.value(several), list):
                return expanded[int(index)]
            case {"Fn::Split": [separator, text]} if isinstance(expanded := self.value(text), str):
                return expanded.split(separator)
            case {"Fn::Sub": text}:
                return self._filled(*(text if isinstance(text, list) else (text, {})))
            case dict():
                values = {key: self.value(child) for key, child in node.items()}
                return {key: value for key, value in values.items() if value is not NO_VALUE}
            case list():
                return [value for child in node if (value := self.value(child)) is not NO_VALUE]
        return node

    def _filled(self, text, names):
        known = {**self.known, **{name: self.value(node) for name, node in names.items()}}
        for name, value in known.items():
            if isinstance(value, str | int):
                text = text.replace(f"${{{name}}}", str(value))
        return {"Fn::Sub": text} if "${" in text else text


def leaves(node, path=""):
    """(path, value) of everything below a node; text that is JSON counts by what it says, not by its blanks."""
    if isinstance(node, str) and node.startswith("{"):
        with contextlib.suppress(json.JSONDecodeError):
            node = json.loads(node)
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else None
    if children is None:
        yield path, node
    for key, child in children or ():
        yield from leaves(child, f"{path}.{key}")


def differences(old, new):
    """Lines that say what of the resources came, went or changed."""
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new:
            yield f"{'+' if name in new else '-'} {name}"
            continue
        before, after = dict(leaves(old[name])), dict(leaves(new[name]))
        for path in sorted(before.keys() | after.keys()):
            if (was := before.get(path)) != (now := after.get(path)):
                yield f"~ {name}{path}: {was!r} -> {now!r}"


def main(commit="HEAD"):
    old = subprocess.run(
        ["git", "show", f"{commit}:template.yaml"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    stacks = [transform(old.stdout), transform((ROOT / "template.yaml").read_text())]
    for title, given in (("defaults", {}), ("Redis and network that are there", EXISTING)):
        print(f"# {title}")
        print("\n".join(differences(*(Expansion(stack, given).resources for stack in stacks))))


if __name__ == "__main__":
    main(*sys.argv[1:])

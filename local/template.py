"""template.yaml as data: the parameters, conditions and intrinsics that it uses; anything else stops with its line."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

FUNCTION = "AWS::Serverless::Function"
ARNS = {
    FUNCTION: "arn:aws:lambda:us-east-1:123456789012:function:",
    "AWS::Kinesis::Stream": "arn:aws:kinesis:us-east-1:123456789012:stream/",
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:us-east-1:123456789012:table/",
    "AWS::S3::Bucket": "arn:aws:s3:::",
}
OTHERS = re.compile(
    "AWS::(ApiGatewayV2|CloudWatch|EC2|ElastiCache|IAM|Lambda|Logs|S3::BucketPolicy|Serverless::(HttpApi|Layer)|SNS)"
)
EVENTS = ("HttpApi", "Kinesis", "DynamoDB", "ScheduleV2")
NO_VALUE = object()
STACK = "carbyne"
RULES: dict[str, Callable[[str, Any], object]] = {
    "Type": lambda value, kind: kind != "Number" or re.fullmatch(r"-?\d+(\.\d+)?", value),
    "AllowedValues": lambda value, allowed: value in map(str, allowed),
    "AllowedPattern": lambda value, pattern: re.fullmatch(pattern, value),
    "MinValue": lambda value, least: float(value) >= least,
    "MaxValue": lambda value, most: float(value) <= most,
}


class TemplateError(Exception):
    """What can't be run here: file, line and name."""


def pairs(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """The children of a mapping by their keys, what is merged into it by ``<<`` beneath them; none of nothing."""
    own = dict[str, yaml.Node]()
    merged = dict[str, yaml.Node]()
    for key, child in node.value if node else ():
        if key.tag == "tag:yaml.org,2002:merge":
            for source in reversed(child.value) if isinstance(child, yaml.SequenceNode) else (child,):
                merged |= pairs(source)  # of several the first one wins
        else:
            own[key.value] = child
    return {**merged, **own}


def reference(name: str) -> str:
    """The physical name of a resource: what !Ref of it gives."""
    return f"{STACK}-{name.lower()}"


class Template:
    """``parameters``: "Name=value Name=value", as a deployment would give them.  TemplateError for what is unknown.

    ``known``: the values of parameters and of attributes, to which the attributes of what was made are added.
    """

    def __init__(self, path: Path, parameters: str) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C takes a tenth of the time
        self.path, self.sections = path, pairs(yaml.compose(path.read_text(), Loader=loader))
        declared = {name: pairs(node) for name, node in pairs(self.sections.get("Parameters")).items()}
        self.known = {name: self.value(rules["Default"]) for name, rules in declared.items() if "Default" in rules}
        self.known["AWS::StackName"] = STACK
        for name, _, given in (pair.partition("=") for pair in parameters.split()):
            if name not in declared:
                raise TemplateError(f"{path}: there is no parameter {name}; PARAMETERS is like Name=value Name=value")
            for rule, node in declared[name].items():
                if rule in RULES and not RULES[rule](given, self.value(node)):
                    raise self.error(node, f"the parameter {name} can't be {given}: {rule} is {self.value(node)}")
            self.known[name] = json.loads(given) if declared[name]["Type"].value == "Number" else given
        self.resources = pairs(self.sections["Resources"])
        for name, node in list(self.resources.items()):
            if OTHERS.match(kind := self.type(name)):
                continue
            if kind not in ARNS:
                raise self.error(node, f"the local runtime does not know the type {kind} of {name}")
            if (condition := pairs(node).get("Condition")) and not self._is_true(condition):
                del self.resources[name]
            for event, body in pairs(pairs(pairs(node).get("Properties")).get("Events")).items():
                if (kind := pairs(body)["Type"].value) not in EVENTS:
                    raise self.error(body, f"the local runtime does not know the event type {kind} of {name}.{event}")

    def error(self, node: yaml.Node, message: str) -> TemplateError:
        return TemplateError(f"{self.path}:{node.start_mark.line + 1}: {message}")

    def type(self, name: str) -> str:
        return str(pairs(self.resources[name])["Type"].value)

    def of_type(self, kind: str) -> list[str]:
        return [name for name in self.resources if self.type(name) == kind]

    def properties(self, name: str) -> dict[str, yaml.Node]:
        """The unresolved properties of a resource, Globals of functions beneath them."""
        shared = pairs(self.sections.get("Globals")).get("Function") if self.type(name) == FUNCTION else None
        return {**pairs(shared), **pairs(pairs(self.resources[name]).get("Properties"))}

    def values(self, name: str, *keys: str) -> dict[str, Any]:
        """Those of the properties of a resource that it has, resolved."""
        return self._resolved({key: node for key, node in self.properties(name).items() if key in keys})

    def value(self, node: yaml.Node) -> Any:  # noqa: ANN401, PLR0911 - whatever the template says
        """A node with its intrinsics resolved; TemplateError for one that is not known here."""
        match node.tag, node.value:
            case "!Ref" | "!GetAtt", name:
                return self._name(node, name)
            case "!Sub", str(text):
                return re.sub(r"\$\{([^}]+)\}", lambda part: str(self._name(node, part[1])), text)
            case "!Equals", [left, right]:
                return str(self.value(left)) == str(self.value(right))
            case "!Not", [condition]:
                return not self.value(condition)
            case "!If", [condition, yes, no]:
                return self.value(yes if self._is_true(condition) else no)
            case "!FindInMap", [name, key, field]:
                table = pairs(pairs(self.sections["Mappings"])[name.value])
                return self.value(pairs(table[str(self.value(key))])[field.value])
            case tag, _ if tag.startswith("!"):
                raise self.error(node, f"the local runtime does not know the intrinsic {tag}")
            case "tag:yaml.org,2002:map", _:
                return self._resolved(pairs(node))
            case _, list(children):
                return [self.value(child) for child in children]
        return yaml.SafeLoader("").construct_object(node)

    def _resolved(self, nodes: dict[str, yaml.Node]) -> dict[str, Any]:
        return {key: value for key, node in nodes.items() if (value := self.value(node)) is not NO_VALUE}

    def _is_true(self, condition: yaml.Node) -> bool:
        return bool(self.value(pairs(self.sections["Conditions"])[condition.value]))

    def _name(self, node: yaml.Node, name: str) -> Any:  # noqa: ANN401
        owner, _, attribute = name.partition(".")
        if name in self.known or name == "AWS::NoValue":
            return self.known.get(name, NO_VALUE)
        if owner in self.resources and attribute in ("", "Arn") and self.type(owner) in ARNS:
            return (ARNS[self.type(owner)] if attribute else "") + reference(owner)
        raise self.error(node, f"{name} has no value in the local runtime")

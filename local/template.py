"""template.yaml as data: the parameters, conditions and intrinsics that it uses; anything else stops with its line."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from local.aws import REGION

ARNS = {
    "AWS::Kinesis::Stream": f"arn:aws:kinesis:{REGION}:123456789012:stream/",
    "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{REGION}:123456789012:table/",
    "AWS::S3::Bucket": "arn:aws:s3:::",
}
OTHERS = re.compile("AWS::(CloudWatch|EC2|ElastiCache|IAM|Logs|S3::BucketPolicy|Serverless|SNS)")
FUNCTION = "AWS::Serverless::Function"
EVENTS = ("HttpApi", "Kinesis", "ScheduleV2")
NO_VALUE = object()


class TemplateError(Exception):
    """What can't be run here: file, line and name."""


def pairs(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """The children of a mapping by their keys; none of nothing."""
    return {key.value: child for key, child in node.value} if node else {}


class Template:
    """``parameters``: "Name=value Name=value", as a deployment would give them.  TemplateError for what is unknown."""

    def __init__(self, path: Path, parameters: str) -> None:
        self.path, self.sections = path, pairs(yaml.compose(path.read_text()))
        self.resources, self.parameters = pairs(self.sections["Resources"]), pairs(self.sections.get("Parameters"))
        self.overrides: Mapping[str, str] = {
            name: value for name, _, value in (pair.partition("=") for pair in parameters.split())
        }
        for name, given in self.overrides.items():
            if name not in self.parameters:
                raise TemplateError(f"{path}: there is no parameter {name}; PARAMETERS is like Name=value Name=value")
            allowed = pairs(self.parameters[name]).get("AllowedValues")
            if allowed and given not in [choice.value for choice in allowed.value]:
                raise self.error(allowed, f"the parameter {name} can't be {given}")
        for name, node in self.resources.items():
            if (kind := self.type(name)) not in ARNS and not OTHERS.match(kind):
                raise self.error(node, f"the local runtime does not know the type {kind} of {name}")
            for event, body in self.events(name).items():
                if (kind := pairs(body)["Type"].value) not in EVENTS:
                    raise self.error(body, f"the local runtime does not know the event type {kind} of {name}.{event}")

    def error(self, node: yaml.Node, message: str) -> TemplateError:
        return TemplateError(f"{self.path}:{node.start_mark.line + 1}: {message}")

    def type(self, name: str) -> str:
        return str(pairs(self.resources[name])["Type"].value)

    def properties(self, name: str) -> dict[str, yaml.Node]:
        """The unresolved properties of a resource, Globals of functions beneath them."""
        shared = pairs(self.sections.get("Globals")).get("Function") if self.type(name) == FUNCTION else None
        return {**pairs(shared), **pairs(pairs(self.resources[name]).get("Properties"))}

    def events(self, name: str) -> dict[str, yaml.Node]:
        return pairs(self.properties(name).get("Events"))

    @staticmethod
    def reference(name: str) -> str:
        """The physical name of a store: what !Ref of it gives."""
        return f"carbyne-{name.lower()}"

    def values(self, name: str, *wanted: str) -> dict[str, Any]:
        """Those of the wanted properties of a resource that it has, resolved."""
        found = {key: self.value(node) for key, node in self.properties(name).items() if key in wanted}
        return {key: value for key, value in found.items() if value is not NO_VALUE}

    def value(self, node: yaml.Node) -> Any:  # noqa: ANN401 - whatever the template says
        """A node with its intrinsics resolved; TemplateError for one that is not known here."""
        if node.tag.startswith("!"):
            return self._intrinsic(node)
        if isinstance(node, yaml.MappingNode):
            return {key: self.value(child) for key, child in pairs(node).items()}
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child) for child in node.value]
        return yaml.safe_load(yaml.serialize(node))

    def _intrinsic(self, node: yaml.Node) -> Any:  # noqa: ANN401
        match node.tag:
            case "!Ref" | "!GetAtt":
                return self._name(node, node.value)
            case "!Sub":
                return re.sub(r"\$\{([^}]+)\}", lambda part: str(self._name(node, part[1])), node.value)
            case "!Equals":
                return self.value(node.value[0]) == self.value(node.value[1])
            case "!If":
                condition, yes, no = node.value
                return self.value(yes if self.value(pairs(self.sections["Conditions"])[condition.value]) else no)
            case "!FindInMap":
                name, key, field = map(self.value, node.value)
                return self.value(pairs(pairs(pairs(self.sections["Mappings"])[name])[str(key)])[field])
        raise self.error(node, f"the local runtime does not know the intrinsic {node.tag}")

    def _name(self, node: yaml.Node, name: str) -> Any:  # noqa: ANN401
        owner, _, attribute = name.partition(".")
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self.overrides:
            return self.overrides[name]
        if default := pairs(self.parameters.get(name)).get("Default"):
            return str(default.value)
        if owner in self.resources and attribute in ("", "Arn") and self.type(owner) in ARNS:
            return (ARNS[self.type(owner)] if attribute else "") + self.reference(owner)
        raise self.error(node, f"{name} has no value in the local runtime")

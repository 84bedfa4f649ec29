"""The local runtime reads the template as a deployment would."""

import pytest

from local.template import Template, TemplateError

TEXT = """\
Parameters:
  Size: {Type: Number, Default: 2, MinValue: 1, MaxValue: 9}
  Kind: {Type: String, Default: a, AllowedValues: [a, b]}
  Mail: {Type: String, Default: "", AllowedPattern: "^([^@ ]+@[^@ ]+)?$"}
Mappings:
  Ages: {"2": {Seconds: 20}, "3": {Seconds: 30}}
Conditions:
  IsB: !Equals [!Ref Kind, b]
  IsNotB: !Not [!Equals [!Ref Kind, b]]
Resources:
  Alarm: {Type: AWS::CloudWatch::Alarm, Condition: Nowhere}
  OnlyB: {Type: AWS::S3::Bucket, Condition: IsB}
  Store:
    Type: AWS::DynamoDB::Table
    Condition: IsNotB
    Properties:
      Size: !Ref Size
      Age: !FindInMap [Ages, !Ref Size, Seconds]
      None: !If [IsB, x, !Ref AWS::NoValue]
      List: [{ Deep: !If [IsB, x, !Ref AWS::NoValue], Name: !Sub "${Kind}/*" }]
      Arn: !GetAtt Store.Arn
      Merged: { <<: [{ A: 1, B: 1 }, { B: 2, C: 2, D: 2 }], C: 3 }
"""


@pytest.fixture
def template(tmp_path):
    path = tmp_path / "template.yaml"
    path.write_text(TEXT)
    return lambda parameters="": Template(path, parameters)


def test_values_are_those_of_the_parameters(template):
    names = ("Size", "Age", "None", "List", "Arn")
    assert template("Size=3").values("Store", *names) == {
        "Size": 3,
        "Age": 30,
        "List": [{"Name": "a/*"}],
        "Arn": "arn:aws:dynamodb:us-east-1:123456789012:table/carbyne-store",
    }


def test_of_merged_mappings_the_first_wins_beneath_what_stands_there(template):
    assert template().values("Store", "Merged") == {"Merged": {"A": 1, "B": 1, "C": 3, "D": 2}}


@pytest.mark.parametrize(("parameters", "made"), [("", "Store"), ("Kind=b", "OnlyB")])
def test_stores_are_made_under_their_condition(template, parameters, made):
    loaded = template(parameters)
    assert loaded.of_type("AWS::DynamoDB::Table") + loaded.of_type("AWS::S3::Bucket") == [made]


@pytest.mark.parametrize(
    ("given", "line", "rule"),
    [
        ("Size=0", 2, "MinValue is 1"),
        ("Size=10", 2, "MaxValue is 9"),
        ("Size=x", 2, "Type is Number"),
        ("Size=1e1", 2, "Type is Number"),
        ("Kind=c", 3, "AllowedValues"),
        ("Mail=nobody", 4, "AllowedPattern"),
    ],
)
def test_parameters_are_refused_as_in_a_deployment(template, given, line, rule):
    with pytest.raises(TemplateError, match=rf"template.yaml:{line}: the parameter {given.partition('=')[0]}.*{rule}"):
        template(given)

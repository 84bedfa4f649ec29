"""Where the writer's own client asks Kinesis: always where boto3's client would."""

import boto3
import pytest
from carbyne.wiring.writer import place_of_kinesis


@pytest.fixture(autouse=True)
def no_endpoints_of_one_s_own(monkeypatch):
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_KINESIS"):
        monkeypatch.delenv(name, raising=False)


def asked(region):
    """(where the writer's client asks, where boto3's does)"""
    session = boto3.Session("id", "secret", region_name=region)
    dynamodb, kinesis = (session.client(service) for service in ("dynamodb", "kinesis"))
    place = place_of_kinesis(session, dynamodb)
    assert place.region == region
    return place.url, kinesis.meta.endpoint_url


@pytest.mark.parametrize("dual", ["false", "true"])
@pytest.mark.parametrize("fips", ["false", "true"])
@pytest.mark.parametrize("region", ["us-east-1", "us-gov-west-1"])
def test_fips_and_dual_stack_are_kept(monkeypatch, region, fips, dual):
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", fips)
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", dual)
    ours, theirs = asked(region)
    assert ours == theirs


@pytest.mark.parametrize("region", ["eu-west-1", "cn-north-1", "us-iso-east-1"])
def test_each_partition_has_its_domain(region):
    ours, theirs = asked(region)
    assert ours == theirs


@pytest.mark.parametrize("service", ["", "_DYNAMODB", "_KINESIS"])
def test_an_endpoint_of_one_s_own_is_taken_for_the_services_that_it_is_of(monkeypatch, service):
    monkeypatch.setenv(f"AWS_ENDPOINT_URL{service}", "http://dynamodb.test:8000")
    session = boto3.Session("id", "secret", region_name="eu-west-1")
    place = place_of_kinesis(session, session.client("dynamodb"))
    assert place.url == (
        "https://kinesis.eu-west-1.amazonaws.com" if service == "_DYNAMODB" else "http://dynamodb.test:8000"
    )

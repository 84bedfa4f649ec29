"""Logging in at Redis: tokens against a signature worked out by hand, and no secret where it does not belong."""

import datetime
import hashlib
import hmac
from urllib.parse import parse_qsl, quote

import pytest
from botocore import auth as botocore_auth
from botocore.credentials import Credentials
from carbyne.adapters.redis import auth
from carbyne.adapters.redis.auth import IamTokens
from carbyne.core import settings
from carbyne.core.errors import InvariantError
from carbyne.core.limits import REDIS_TOKEN_RENEW_S, REDIS_TOKEN_S
from carbyne.core.settings import RedisSettings, Secret

NOW = datetime.datetime(2026, 11, 22, 10, 30, 0, tzinfo=datetime.UTC)
ROLE = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a+session/token==")
KNOWN = (
    "carbyne-redis/?Action=connect&User=carbyne-0a1b&X-Amz-Algorithm=AWS4-HMAC-SHA256"
    "&X-Amz-Credential=AKIDEXAMPLE%2F20261122%2Feu-west-1%2Felasticache%2Faws4_request"
    "&X-Amz-Date=20261122T103000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host"
    "&X-Amz-Security-Token=a%2Bsession%2Ftoken%3D%3D"
)


@pytest.fixture(autouse=True)
def fixed_clock(monkeypatch):
    """botocore takes the time of a signature from here."""
    monkeypatch.setattr(botocore_auth, "get_current_datetime", lambda: NOW)


def signature(url, secret):
    """Signature Version 4 of a presigned GET, step by step as AWS documents it."""
    host, _, query = url.partition("/?")
    pairs = sorted(parse_qsl(query))
    canonical = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs)
    request = "\n".join(["GET", "/", canonical, f"host:{host}", "", "host", hashlib.sha256(b"").hexdigest()])
    scope = dict(pairs)["X-Amz-Credential"].partition("/")[2]
    text = "\n".join(["AWS4-HMAC-SHA256", "20261122T103000Z", scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def test_a_token_is_a_signed_connect_request():
    made = auth.token("Carbyne-Redis", "carbyne-0a1b", "eu-west-1", ROLE.get_frozen_credentials())
    request, _, signed = made.partition("&X-Amz-Signature=")
    assert request == KNOWN
    assert signed == signature(KNOWN, ROLE.secret_key)
    assert signed == "a5f12f01a42f67daba7cc4d750c1f06264e00f52ca8d5a4b0819cb7bcf7880a9"


class Clock:
    def __init__(self):
        self.now_s = 1_000.0

    def __call__(self):
        return self.now_s


def test_tokens_are_kept_and_renewed_in_time():
    clock, asked = Clock(), []
    tokens = IamTokens("c", "u", "eu-west-1", lambda: asked.append(clock.now_s) or ROLE.get_frozen_credentials(), clock)
    assert tokens.get_credentials()[0] == "u"
    clock.now_s += REDIS_TOKEN_RENEW_S - 1
    assert tokens.get_credentials() == tokens.get_credentials()
    assert asked == [1_000.0]
    clock.now_s += 1
    tokens.get_credentials()
    assert asked == [1_000.0, 1_000.0 + REDIS_TOKEN_RENEW_S]
    assert REDIS_TOKEN_RENEW_S < REDIS_TOKEN_S


def provider(role=lambda: ROLE, **given):
    redis_settings = RedisSettings("redis:6379", **{"redis_tls": True, **given})
    return auth.provider(redis_settings, role, lambda: "eu-west-1", Clock())


def test_a_cluster_without_login():
    assert provider() is None


def test_a_password_of_the_default_user_and_of_another_one():
    assert provider(redis_password=Secret("pw")).get_credentials() == ("pw",)
    assert provider(redis_password=Secret("pw"), redis_user="app").get_credentials() == ("app", "pw")


def test_iam_goes_before_a_password():
    login = provider(redis_iam_cache="c", redis_user="u", redis_password=Secret("pw"))
    assert login.get_credentials()[1].startswith("c/?Action=connect&User=u&")


def test_iam_needs_tls_and_a_role():
    with pytest.raises(InvariantError, match="REDIS_TLS must be true"):
        provider(redis_iam_cache="c", redis_user="u", redis_tls=False)
    with pytest.raises(InvariantError, match="no AWS credentials"):
        provider(role=lambda: None, redis_iam_cache="c", redis_user="u")


def test_no_secret_in_a_repr():
    loaded = settings.load(
        RedisSettings, {"REDIS_ENDPOINT": "redis:6379", "REDIS_TLS": "true", "REDIS_PASSWORD": "hush-hush"}
    )
    assert loaded.redis_password.reveal() == "hush-hush"
    login = provider(redis_password=loaded.redis_password)
    tokens = provider(redis_iam_cache="c", redis_user="u")
    assert tokens.get_credentials()
    shown = repr([loaded, loaded.redis_password, login, tokens]) + str(loaded.redis_password)
    assert "hush" not in shown
    assert "Signature" not in shown


def test_no_secret_in_the_error_of_malformed_settings():
    with pytest.raises(InvariantError) as error:
        settings.load(RedisSettings, {"REDIS_ENDPOINT": "redis:6379", "REDIS_TLS": "x", "REDIS_PASSWORD": "hush-hush"})
    assert "hush" not in str(error.value)

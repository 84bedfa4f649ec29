"""What the functions show to Redis: nothing, a password, or a token that ElastiCache checks with IAM.

The token is a presigned ``connect`` request that is never sent: it is signed here, without a call to AWS, and stands
for the function's role for 15 minutes.  redis-py asks for it with each new connection.
"""

from collections.abc import Callable
from typing import Final

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from redis.credentials import CredentialProvider, UsernamePasswordCredentialProvider

from carbyne.core.errors import InvariantError
from carbyne.core.limits import REDIS_TOKEN_RENEW_S, REDIS_TOKEN_S
from carbyne.core.settings import RedisSettings

SCHEME: Final = "http://"


def token(cache: str, user: str, region: str, credentials: ReadOnlyCredentials) -> str:
    """The password of ``user`` for the replication group ``cache``, valid for REDIS_TOKEN_S from now.

    Its form: AWS, "Authenticating with IAM" in the ElastiCache user guide.  Names of caches are signed in lower case.
    """
    request = AWSRequest("GET", f"{SCHEME}{cache.lower()}/", params={"Action": "connect", "User": user})
    SigV4QueryAuth(credentials, "elasticache", region, expires=REDIS_TOKEN_S).add_auth(request)
    return str(request.url).removeprefix(SCHEME)


class IamTokens(CredentialProvider):
    """(user, token) for redis-py.  ``credentials``: of the role, which their provider renews; ``now_s``: wall clock,
    since a monotonic one may stand still while an instance is frozen."""

    def __init__(
        self,
        cache: str,
        user: str,
        region: str,
        credentials: Callable[[], ReadOnlyCredentials],
        now_s: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._user = user
        self._region = region
        self._credentials = credentials
        self._now_s = now_s
        self._token = ""
        self._renewal_s = 0.0

    def get_credentials(self) -> tuple[str, str]:
        """Signs at most each REDIS_TOKEN_RENEW_S; two threads that do so at once get two good tokens."""
        now_s = self._now_s()
        if now_s >= self._renewal_s:
            self._token = token(self._cache, self._user, self._region, self._credentials())
            self._renewal_s = now_s + REDIS_TOKEN_RENEW_S
        return self._user, self._token


def provider(
    settings: RedisSettings,
    role: Callable[[], Credentials | None],
    region: Callable[[], str],
    now_s: Callable[[], float],
) -> CredentialProvider | None:
    """How to log in at the cluster of ``settings``; ``role``: the function's own credentials, asked only for IAM.

    InvariantError for an IAM login without TLS, which ElastiCache refuses, or without credentials.
    """
    if settings.redis_iam_cache:
        if not settings.redis_tls:
            raise InvariantError("IAM tokens are taken over TLS only: REDIS_TLS must be true")
        if (credentials := role()) is None:
            raise InvariantError("this process has no AWS credentials to sign a token for Redis with")
        return IamTokens(
            settings.redis_iam_cache, settings.redis_user, region(), credentials.get_frozen_credentials, now_s
        )
    if settings.redis_password:
        return UsernamePasswordCredentialProvider(settings.redis_user or None, settings.redis_password.reveal())
    return None

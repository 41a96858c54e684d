"""What the tests of pairs share: how many examples are tried, keys made once, real tools."""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from cryptography import x509
from hypothesis import HealthCheck, settings

from certs.issue import IssuedPair, PrivateKey, generate_key, issue, self_sign
from certs.spec import PairSpec

NOW = datetime(2026, 11, 24, 12, 0, 0, 250_000, tzinfo=UTC)

settings.register_profile(
    "dev",
    max_examples=200,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("fuzz", settings.get_profile("dev"), derandomize=False)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "dev")
settings.load_profile(PROFILE)


@pytest.fixture(autouse=True)
def _master_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", "A" * 43 + "=")


def examples(count: int) -> settings:
    """Up to 200 examples, or all of `count` with HYPOTHESIS_PROFILE=fuzz."""
    return settings(max_examples=count if PROFILE == "fuzz" else min(count, 200))


RAW: dict[str, str] = {
    "country": "JP",
    "state": "東京都",
    "locality": "渋谷区",
    "organization": "エックスメール株式会社",
    "organizational_unit": "開発部",
    "common_name": "mail.dojo.jp",
    "aliases": "dojo.jp www.soopoo.jp 192.0.2.25 2001:db8::25",
    "email": "postmaster@dojo.jp",
    "key_size": "rsa-2048",
    "days": "825",
}


def spec(**changes: str) -> PairSpec:
    """The spec of `RAW` with `changes`."""
    return PairSpec.parse({**RAW, **changes})


def tool(name: str) -> str:
    """The path of a real tool; without it the test is skipped, or fails where CI=true."""
    path = shutil.which(name) or ""
    if not path:
        reason = f"{name} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="session")
def pair_of() -> Callable[[str], IssuedPair]:
    """The pair of `RAW` with a kind of key, made once for each kind, valid from now on."""
    made: dict[str, IssuedPair] = {}

    def pair(kind: str) -> IssuedPair:
        if kind not in made:
            made[kind] = issue(spec(key_size=kind), datetime.now(UTC))  # real clients verify it
        return made[kind]

    return pair


@pytest.fixture(scope="session")
def ec_key() -> PrivateKey:
    return generate_key(spec(key_size="ec-256"))


@pytest.fixture(scope="session")
def sign(ec_key: PrivateKey) -> Callable[[PairSpec], x509.Certificate]:
    """Signs any spec with one and the same key, since making keys is slow."""

    def signed(content: PairSpec) -> x509.Certificate:
        return self_sign(content, ec_key, NOW)

    return signed

"""The cache in the database runs nothing of what somebody has put there."""

from __future__ import annotations

import base64
import pickle
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.urls import reverse

pytestmark = pytest.mark.django_db
RUN: list[str] = []


class Evil:
    def __reduce__(self) -> Any:
        return RUN.append, ("run",)


def test_what_is_pickled_there_is_not_run() -> None:
    client = Client()
    wrong = {"login": "hanako", "password": "wrong"}
    client.post(reverse("account_login"), wrong)
    assert RUN == []
    text = base64.b64encode(pickle.dumps(Evil())).decode()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE xmailadmin_cache SET value = %s", [text])
        assert cursor.rowcount, "a try is counted there"
    assert client.post(reverse("account_login"), wrong).status_code == 200
    assert RUN == []


@pytest.mark.parametrize("value", ["used", 1, [1.5, "x"], {"a": [None, True]}])
def test_values_come_back(value: Any) -> None:
    assert cache.add("place", value, 60)
    assert not cache.add("place", "other", 60)
    assert cache.get("place") == value
    assert cache.get_many(["place", "none"]) == {"place": value}

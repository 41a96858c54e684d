"""What a claimed installation asks of the coroutine that does it."""

from __future__ import annotations

from certs.models import Pair
from hosts.fan_out import Job
from hosts.models import Deployment, Installation
from hosts.order import IN_CLEAR, Order, PairFiles

__all__ = ["Opened", "job"]


class Opened(dict[int, PairFiles]):
    """The pairs that a chunk of hosts needs, by their keys; each is opened once."""

    def files(self, pair: Pair | None) -> PairFiles:
        """Returns the two files of a pair. Raises VaultError where one cannot be opened."""
        if pair is None:
            return PairFiles(None, None)
        if pair.pk not in self:
            self[pair.pk] = PairFiles(pair.private_key(), pair.certificate_file())
        return self[pair.pk]


def job(row: Installation, token: str, opened: Opened) -> Job:
    """Returns what the fan-out shall do for `row`, which `token` has claimed.

    Raises VaultError where a secret cannot be opened.
    """
    assert row.host is not None  # noqa: S101  ready() lets only rows with a host through
    order = Order(
        files=opened.files(row.pair),
        place_only=row.deployment.kind == Deployment.Kind.PLACE,
        token=token,
        endpoints=row.host.endpoints,
        address=row.host.address,
        previous=opened.files(row.previous_pair) if row.adopted else None,
        switched=any(step["step"] == "SWITCH" for step in row.steps),
        was_in_clear=any(step["message"]["code"] in IN_CLEAR for step in row.steps),
        also_trusted=_left_behind(row),
    )
    return Job(row.pk, row.host.target(), order, resumed=row.adopted)


def _left_behind(row: Installation) -> frozenset[str]:
    """Returns the certificates of the pairs that an overtaken worker may have left on the host.

    None for any other row: whoever shows what an earlier installation left may be somebody else,
    at a place where the host is no more, or with a key that got out and was replaced for that.
    """
    if row.puts_right_id is None:
        return frozenset()
    overtaken = Installation.objects.filter(pk=row.puts_right_id)
    pairs = overtaken.values_list("pair__sha256", "previous_pair__sha256")
    return frozenset(sha256 for pair in pairs for sha256 in pair if sha256)

"""Whether the endpoints of a host serve what was installed, by handshakes before and after."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from hosts import addresses
from hosts.addresses import AddressError, Network
from hosts.probe import Endpoint, EndpointResult
from hosts.transports.base import TransportError

Probe = Callable[[str, Endpoint], Awaitable[EndpointResult]]

#: XMail opens the two files one after the other, so a handshake may meet the middle of a switch.
RETRY_AFTER_S = (0.1, 0.5)
#: One that took longer to fail has not met the middle of a switch, and is not tried again.
RETRY_WITHIN_S = 4.0
#: How an endpoint fails that says nothing, whatever its pair: once is enough to know.
SILENT = frozenset({"probe.no_answer", "probe.silent_banner", "probe.silent_command"})


class Proof:
    """The endpoints of one host, and what each of them served before anything was changed."""

    def __init__(
        self, address: str, endpoints: Sequence[Endpoint], probe: Probe, allowed: Sequence[Network]
    ) -> None:
        self.address = address
        self.endpoints = [endpoint for endpoint in endpoints if endpoint.port] if address else []
        self.before: dict[Endpoint, EndpointResult] = {}
        self.now: dict[Endpoint, EndpointResult] = {}
        self._probe = probe
        self._allowed = allowed

    async def look_before(self) -> None:
        """Remember what every endpoint serves; raises TransportError for a forbidden address."""
        self.before = self.now = await self._probe_all(self.endpoints, strict=True)

    async def look(self, sha256: str) -> None:
        """See what every endpoint serves now, up to three times until it is `sha256`.

        An endpoint that never came as far as a handshake is not waited for, nor is one that said
        nothing before looked at again.
        """
        began = asyncio.get_running_loop().time()
        silent = {one: was for one, was in self.before.items() if was.message.code in SILENT}
        speaking = [endpoint for endpoint in self.endpoints if endpoint not in silent]
        found = silent | await self._probe_all(speaking)
        self.now = {endpoint: found[endpoint] for endpoint in self.endpoints}
        for delay_s in RETRY_AFTER_S:
            again = [
                endpoint
                for endpoint, result in self.now.items()
                if not serves(result, sha256)
                and (self.completed_before(endpoint) or result.stage in {"handshake", "done"})
            ]
            if not again or asyncio.get_running_loop().time() - began > RETRY_WITHIN_S:
                break
            await asyncio.sleep(delay_s)
            self.now = self.now | await self._probe_all(again)

    def completed_before(self, endpoint: Endpoint) -> bool:
        """Whether this endpoint completed a handshake before anything was changed."""
        return endpoint in self.before and self.before[endpoint].ok

    def lost(self, sha256: str, *, suspicious: bool) -> list[Endpoint]:
        """The endpoints that the switch has broken.

        Those that completed a handshake before and now fail or serve another certificate. When
        nothing is known of the time before (`suspicious`), also those that speak but cannot
        complete their handshake.
        """
        return [
            endpoint
            for endpoint, result in self.now.items()
            if not serves(result, sha256)
            and (self.completed_before(endpoint) or (suspicious and result.stage == "handshake"))
        ]

    def others(self, sha256: str) -> list[Endpoint]:
        """The endpoints that do not serve `sha256`, for whatever reason."""
        return [endpoint for endpoint, found in self.now.items() if not serves(found, sha256)]

    def restored(self, sha256: str, *, resumed: bool) -> bool:
        """Whether every endpoint that completed a handshake before does so again.

        It must serve `sha256`, or what it served before; what that was is unknown to a run that
        took over from an interrupted one.
        """
        return all(
            serves(self.now[endpoint], sha256)
            or (not resumed and serves(self.now[endpoint], before.sha256))
            for endpoint, before in self.before.items()
            if before.ok
        )

    @property
    def results(self) -> list[EndpointResult]:
        """What every endpoint served when it was last looked at."""
        return list(self.now.values())

    async def _probe_all(
        self, endpoints: Sequence[Endpoint], *, strict: bool = False
    ) -> dict[Endpoint, EndpointResult]:
        """Look at each; when `strict`, an address that is forbidden is an error."""
        if not endpoints:
            return {}
        try:
            ip = await addresses.resolve(self.address, self._allowed)
        except AddressError as error:
            if error.permanent and strict:
                raise TransportError(error.message, permanent=True) from error
            return {endpoint: unreachable(endpoint, error) for endpoint in endpoints}
        results = await asyncio.gather(*(self._probe(ip, endpoint) for endpoint in endpoints))
        return dict(zip(endpoints, results, strict=True))


def serves(result: EndpointResult, sha256: str) -> bool:
    """Whether a handshake was completed and showed this certificate."""
    return result.ok and result.sha256 == sha256


def name_all(endpoints: Iterable[Endpoint]) -> str:
    """Endpoints as a parameter of a message: "SMTP 25, POP3S 995"."""
    return ", ".join(f"{endpoint.name.upper()} {endpoint.port}" for endpoint in endpoints)


def unreachable(endpoint: Endpoint, error: AddressError) -> EndpointResult:
    """The result of an endpoint whose address nobody knows at present."""
    return EndpointResult(
        name=endpoint.name, port=endpoint.port, ok=False, stage="connect", message=error.message
    )

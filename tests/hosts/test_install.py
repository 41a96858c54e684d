"""One algorithm, every way it can end."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from hosts import proof
from hosts.install import Order, Outcome, PairFiles
from hosts.messages import Message
from hosts.probe import Endpoint
from hosts.transports.base import TransportError
from tests.hosts.memory import (
    ALL_STEPS,
    BROKEN,
    ENDPOINTS,
    NEW,
    NEW_FILES,
    NOTHING,
    OLD,
    OLD_FILES,
    STRANGER,
    MemoryTransport,
    Stage,
    codes,
    order,
)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "RETRY_AFTER_S", (0.0, 0.0))


# What goes well.


@pytest.mark.parametrize("held", [NOTHING, OLD_FILES, PairFiles(OLD.key, None)])
async def test_installs_proves_and_says_what_was_there(held: PairFiles) -> None:
    stage = Stage(held)
    outcome = await stage.run(order())
    assert outcome.status == "INSTALLED"
    assert outcome.message == Message("install.installed", {"endpoints": "SMTP 25, POP3S 995"})
    assert stage.host.pair == NEW_FILES
    assert stage.host.modes["server.key"] == 0o600
    assert stage.notebook.steps == ALL_STEPS
    assert stage.notebook.adopted == outcome.previous == held
    assert [result.sha256 for result in outcome.endpoints] == [NEW.sha256] * 2
    assert outcome.key_written
    assert not stage.transport.open


async def test_key_is_switched_before_the_certificate() -> None:
    stage = Stage(OLD_FILES)
    await stage.run(order())
    assert stage.host.changes == ["write server.key", "write server.cert"]


async def test_unchanged_writes_nothing_and_is_proven() -> None:
    stage = Stage(NEW_FILES)
    outcome = await stage.run(order())
    assert outcome.status == "UNCHANGED"
    assert outcome.message.code == "install.unchanged"
    assert stage.host.changes == []
    assert stage.notebook.steps == ["CONNECT", "VERIFY", "RECORD"]
    assert {result.sha256 for result in outcome.endpoints} == {NEW.sha256}
    assert not outcome.key_written


async def test_unchanged_mends_the_mode_of_the_key() -> None:
    stage = Stage(NEW_FILES)
    stage.host.modes["server.key"] = 0o644
    outcome = await stage.run(order())
    assert (outcome.status, stage.host.modes["server.key"]) == ("UNCHANGED", 0o600)
    assert outcome.notes == [Message("install.mode_mended", {"mode": "0644"})]
    assert stage.host.changes == ["chmod server.key"]


async def test_unchanged_leaves_the_mode_that_xmail_needs() -> None:
    """An XMail that reads the key through its group would lose TLS with 0600."""
    stage = Stage(NEW_FILES)
    stage.host.modes["server.key"] = stage.wire.needs_mode = 0o640
    outcome = await stage.run(order())
    assert outcome.message.code == "install.unchanged"
    assert stage.host.modes["server.key"] == 0o640
    params = {"path": "/MailRoot/server.key", "mode": "0640"}
    assert outcome.notes == [Message("install.mode_needed", params)]


async def test_mode_that_xmail_needs_comes_back_with_the_previous_pair() -> None:
    """To be read, that is: nobody needs to write it, or to run it."""
    stage = Stage(OLD_FILES)
    stage.host.modes["server.key"], stage.wire.needs_mode = 0o4670, 0o640
    outcome = await stage.run(order())
    assert (outcome.status, outcome.message.code) == ("ROLLED_BACK", "install.endpoints_restored")
    assert (stage.host.pair, stage.host.modes["server.key"]) == (OLD_FILES, 0o640)
    assert codes(outcome.notes) == ["install.mode_needed"]


async def test_mode_that_does_not_help_is_not_given_back() -> None:
    stage = Stage(OLD_FILES)
    stage.host.modes["server.key"] = 0o644
    stage.wire.gone_after = 1
    outcome = await stage.run(order())
    assert (outcome.status, outcome.message.code) == ("ROLLED_BACK", "install.endpoints_unproven")
    assert stage.host.modes["server.key"] == 0o600
    assert "install.mode_needed" not in codes(outcome.notes)


async def test_unchanged_names_the_endpoints_that_serve_something_else() -> None:
    stage = Stage(NEW_FILES)
    stage.wire.foreign["pop3s"] = STRANGER.sha256
    outcome = await stage.run(order())
    assert outcome.status == "UNCHANGED"
    assert outcome.message == Message("install.unchanged_unproven", {"endpoints": "POP3S 995"})


async def test_endpoint_that_never_worked_does_not_undo_a_good_installation() -> None:
    stage = Stage(OLD_FILES)
    stage.wire.unreachable.add("pop3s")
    outcome = await stage.run(order())
    assert outcome.status == "INSTALLED"
    assert outcome.message == Message("install.installed_unproven", {"endpoints": "POP3S 995"})
    assert stage.host.pair == NEW_FILES
    assert stage.wire.probed.count("pop3s") == 2  # before and after, and not waited for


async def test_switched_off_tls_does_not_undo_a_first_installation() -> None:
    stage = Stage()
    stage.wire.off.add("smtp")
    outcome = await stage.run(order())
    assert (outcome.status, stage.host.pair) == ("INSTALLED", NEW_FILES)


async def test_no_endpoint_is_on() -> None:
    stage = Stage(OLD_FILES)
    outcome = await stage.run(order(endpoints=[Endpoint("smtp", 0)]))
    assert outcome.message.code == "install.installed_quiet"
    assert stage.wire.probed == []
    told = {message.code for message in stage.notebook.messages}
    assert "install.verifying_quiet" in told, "no list of services that is empty"


async def test_handshake_that_met_the_switch_is_tried_again() -> None:
    stage = Stage(OLD_FILES)
    original = stage.transport.replace_all

    async def replace_all(*args: object, **kwargs: object) -> None:
        await original(*args, **kwargs)  # type: ignore[arg-type]
        stage.wire.failures_left["smtp"] = 2

    stage.transport.replace_all = replace_all  # type: ignore[method-assign]
    outcome = await stage.run(order())
    assert outcome.status == "INSTALLED"
    assert stage.wire.probed.count("smtp") == 4


async def test_places_without_touching_what_is_installed() -> None:
    stage = Stage(OLD_FILES)
    stage.host.hold(PairFiles(STRANGER.key, STRANGER.certificate), "sslconf/")
    outcome = await stage.run(order(place_only=True))
    assert outcome.status == "PLACED"
    assert stage.host.pair == OLD_FILES
    assert stage.host.files["sslconf/server.key"] == NEW.key
    assert stage.notebook.adopted == PairFiles(STRANGER.key, STRANGER.certificate)
    assert stage.wire.probed == []
    again = Stage(OLD_FILES)
    again.host.hold(NEW_FILES, "sslconf/")
    assert (await again.run(order(place_only=True))).message.code == "install.already_placed"


@pytest.mark.parametrize("previous", [None, OLD_FILES])
async def test_who_holds_a_pair_of_sslconf_is_not_taken_for_the_host(
    previous: PairFiles | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryTransport, "identity_is_pair", True)
    stage = Stage(OLD_FILES)
    assert (await stage.run(order(place_only=True, previous=previous))).status == "PLACED"
    assert stage.transport.also_trusted == frozenset()
    installing = Stage(OLD_FILES)
    await installing.run(order(previous=previous))
    assert installing.transport.also_trusted == {OLD.sha256, NEW.sha256}


async def test_removes_and_has_nothing_to_remove() -> None:
    stage = Stage(OLD_FILES)
    outcome = await stage.run(order(NOTHING))
    assert (outcome.status, stage.host.files) == ("REMOVED", {})
    assert outcome.previous == OLD_FILES
    again = Stage()
    assert (await again.run(order(NOTHING))).message.code == "install.nothing_there"


async def test_goes_back_to_half_a_pair_exactly() -> None:
    stage = Stage(OLD_FILES)
    stage.wire.unreachable |= {"smtp", "pop3s"}
    outcome = await stage.run(order(PairFiles(None, STRANGER.certificate)))
    assert outcome.status == "INSTALLED"
    assert stage.host.pair == PairFiles(None, STRANGER.certificate)


# What goes wrong, and is put back.


async def test_lost_endpoint_brings_the_previous_pair_back() -> None:
    stage = Stage(OLD_FILES)
    outcome = await stage.run(order(PairFiles(STRANGER.key, STRANGER.certificate)))
    assert outcome.status == "ROLLED_BACK"
    assert outcome.message == Message(
        "install.endpoints_restored", {"endpoints": "SMTP 25, POP3S 995"}
    )
    assert stage.host.pair == OLD_FILES
    assert stage.notebook.steps[5:] == ["VERIFY", "RESTORE", "STAGE", "SWITCH", "RECORD"]
    assert {result.stage for result in outcome.endpoints} == {"handshake"}
    assert stage.wire.probed.count("smtp") == 1 + 3 + 1  # before, three tries, after restoring
    assert not outcome.key_written


async def test_endpoint_that_now_serves_another_certificate_is_lost() -> None:
    stage = Stage(OLD_FILES)
    stage.wire.foreign["smtp"] = STRANGER.sha256
    outcome = await stage.run(order())
    assert outcome.status == "ROLLED_BACK"
    assert outcome.message.params == {"endpoints": "SMTP 25"}
    assert stage.host.pair == OLD_FILES


async def test_restored_pair_that_is_not_served_again_is_said() -> None:
    stage = Stage(OLD_FILES)
    original = stage.transport.replace_all

    async def replace_all(*args: object, **kwargs: object) -> None:
        await original(*args, **kwargs)  # type: ignore[arg-type]
        stage.wire.usable.clear()

    stage.transport.replace_all = replace_all  # type: ignore[method-assign]
    outcome = await stage.run(order())
    assert (outcome.status, outcome.message.code) == ("ROLLED_BACK", "install.endpoints_unproven")
    assert "install.not_serving" in codes(outcome.notes)
    assert stage.host.pair == OLD_FILES


async def test_first_pair_that_cannot_be_served_is_removed() -> None:
    stage = Stage()
    outcome = await stage.run(order(PairFiles(STRANGER.key, STRANGER.certificate)))
    assert (outcome.status, stage.host.files) == ("ROLLED_BACK", {})
    assert outcome.previous == NOTHING


async def test_read_back_that_differs_brings_the_previous_pair_back() -> None:
    stage = Stage(OLD_FILES)
    stage.host.mangle[NEW.key] = NEW.key[:-10]
    outcome = await stage.run(order())
    assert (outcome.status, outcome.message.code) == ("ROLLED_BACK", "install.read_back_restored")
    assert stage.host.pair == OLD_FILES


async def test_failed_restore_says_so() -> None:
    stage = Stage(OLD_FILES)
    stage.host.mangle = {NEW.key: b"x", OLD.key: b"y"}
    outcome = await stage.run(order())
    assert (outcome.status, outcome.message.code) == (
        "FAILED",
        "install.read_back_restore_failed",
    )
    assert outcome.unsettled


# A transport that fails.


@pytest.mark.parametrize("operation", ["connect", "read", "stage"])
async def test_failure_before_the_switch_changes_nothing(operation: str) -> None:
    stage = Stage(OLD_FILES)
    stage.host.always[operation] = TransportError(
        Message("transport.disk_full", {"path": "server.key"}), permanent=True
    )
    outcome = await stage.run(order())
    assert (outcome.status, outcome.message.code) == ("FAILED", "transport.disk_full")
    assert outcome.permanent
    assert stage.host.pair == OLD_FILES
    assert stage.host.changes == []
    assert not outcome.key_written


async def test_failure_of_the_first_write_changes_nothing_and_is_said() -> None:
    stage = Stage(OLD_FILES)
    stage.host.always["write server.key"] = TransportError(
        Message("transport.denied", {"path": "server.key"}), permanent=True
    )
    outcome = await stage.run(order())
    assert (outcome.status, outcome.message.code) == ("FAILED", "transport.denied")
    assert stage.host.pair == OLD_FILES


async def test_switch_broken_half_way_is_finished_over_a_new_connection() -> None:
    stage = Stage(OLD_FILES)
    written = 1 + 3 + 2 + 1  # connect, read both and the mode, stage both, write the key
    stage.host.faults |= dict.fromkeys(range(written, written + 3), BROKEN)  # and both reads
    outcome = await stage.run(order())
    assert outcome.status == "INSTALLED"
    assert stage.host.pair == NEW_FILES
    assert codes(outcome.notes) == ["transport.lost"]
    assert stage.host.log.count("connect") == 2


async def test_switch_that_cannot_be_finished_is_undone() -> None:
    stage = Stage(OLD_FILES)
    original = stage.transport.replace_all

    async def replace_all(files: Sequence[object], token: str, **kwargs: object) -> None:
        stage.host.always["write server.cert"] = BROKEN
        if getattr(files[0], "data", None) == OLD.key:
            del stage.host.always["write server.cert"]
        await original(files, token, **kwargs)  # type: ignore[arg-type]

    stage.transport.replace_all = replace_all  # type: ignore[method-assign]
    outcome = await stage.run(order())
    assert (outcome.status, outcome.message.code) == ("ROLLED_BACK", "install.switch_restored")
    assert stage.host.pair == OLD_FILES


async def test_host_that_vanishes_in_the_switch_is_of_unknown_state() -> None:
    stage = Stage(OLD_FILES)
    original = stage.transport.replace_all

    async def replace_all(*args: object, **kwargs: object) -> None:
        stage.host.always |= {"write server.cert": BROKEN, "read": BROKEN}
        await original(*args, **kwargs)  # type: ignore[arg-type]

    stage.transport.replace_all = replace_all  # type: ignore[method-assign]
    outcome = await stage.run(order())
    assert (outcome.status, outcome.message.code) == ("FAILED", "install.unknown_state")
    assert (outcome.permanent, outcome.unsettled) == (False, True)


async def test_read_back_over_a_broken_connection_is_repeated_over_a_new_one() -> None:
    stage = Stage(OLD_FILES)
    stage.host.faults[1 + 3 + 2 + 2] = BROKEN
    outcome = await stage.run(order())
    assert outcome.status == "INSTALLED"
    assert stage.host.log.count("connect") == 2


async def test_no_key_crosses_a_channel_that_is_not_confidential() -> None:
    stage = Stage(OLD_FILES)

    async def connect() -> None:
        stage.transport.open = True

    stage.transport.connect = connect  # type: ignore[method-assign]
    outcome = await stage.run(order())
    assert (outcome.status, outcome.message.code) == ("FAILED", "install.not_confidential")
    assert stage.host.log == []


async def test_forbidden_address_is_refused_before_anything_is_changed() -> None:
    stage = Stage(OLD_FILES)
    bad = Order(NEW_FILES, False, "tok", endpoints=ENDPOINTS, address="169.254.169.254")
    outcome = await stage.run(bad)
    assert (outcome.status, outcome.message.code) == ("FAILED", "address.denied")
    assert (stage.host.pair, stage.wire.probed) == (OLD_FILES, [])


async def test_allowed_networks_hold_for_probes_too() -> None:
    stage = Stage(OLD_FILES)
    networks = (ip_network("10.0.0.0/8"),)
    object.__setattr__(stage.transport.target, "allowed_networks", networks)
    outcome = await stage.run(order())
    assert outcome.message.code == "address.not_in_allowed_networks"


# Permissions that the portal cannot set.


@pytest.mark.parametrize(
    ("os", "held", "note"),
    [
        ("unix", NOTHING, ["install.mode_0666"]),
        ("unix", OLD_FILES, []),
        ("windows", OLD_FILES, ["install.mode_windows"]),
    ],
)
async def test_transport_that_sets_no_mode_says_what_to_do(
    os: str, held: PairFiles, note: list[str]
) -> None:
    stage = Stage(held)
    stage.transport = MemoryTransport(stage.host, os=os)
    stage.transport.sets_mode = False
    outcome = await stage.run(order())
    assert outcome.status == "INSTALLED"
    assert codes(outcome.notes) == note


async def test_file_system_that_ignores_modes_is_reported() -> None:
    stage = Stage(OLD_FILES)
    original = stage.transport.replace_all

    async def replace_all(*args: object, **kwargs: object) -> None:
        await original(*args, **kwargs)  # type: ignore[arg-type]
        stage.host.modes["server.key"] = 0o777

    stage.transport.replace_all = replace_all  # type: ignore[method-assign]
    outcome = await stage.run(order())
    assert outcome.notes == [
        Message("install.mode_stays", {"path": "/MailRoot/server.key", "mode": "0777"})
    ]


def test_no_key_in_any_repr() -> None:
    canary = b"-----BEGIN PRIVATE KEY-----canary"
    what = Order(PairFiles(canary, b"c"), False, "t", previous=PairFiles(canary, None))
    outcome = Outcome("FAILED", Message("install.removed"), previous=PairFiles(canary, None))
    assert "canary" not in repr(what) + repr(outcome)

"""Hosts that are not who they were, that let nobody in, and roll backs that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.conftest import Tally
from tests.faults.world import World, as_files, foreign_pair
from tests.servers import SSHServer, ssh_server

MOST_TRIES = 3


@pytest.mark.slow
@pytest.mark.parametrize("world", ["sftp"], indirect=True)
def test_another_host_key(
    world: World, tmp_path: Path, everything: bool, tally: Tally, ssh_server_log: Path
) -> None:
    """A key that changed: refused before anything secret is sent."""
    (tmp_path / "other").mkdir()
    with ssh_server(tmp_path / "other") as other:
        log = tmp_path / "other" / "sshd.log"
        for site in world.sites[: 10 if everything else 2]:
            with tally.run("wrong host key or certificate", f"sftp, host {site.id}"):
                before = {site.id: site.holds}
                world.stage.do("change", host=site.id, port=other.port)
                deployment = world.order([site])
                world.stage.do("work")
                (row,) = world.stage.do("state", deployment=deployment)
                assert (row["status"], row["code"]) == ("FAILED", "ssh.wrong_host_key")
                world.check_site(site, row, before[site.id])
                told = log.read_text()
                assert "Accepted" not in told
                assert "user" not in told, "a name was told to a stranger"
                assert row["attempts"] == 1


@pytest.fixture
def ssh_server_log(ssh_server: SSHServer) -> Path:
    """There is a right server too."""
    return Path()


@pytest.mark.slow
@pytest.mark.parametrize("world", ["ctrl"], indirect=True)
def test_two_hosts_swapped(world: World, everything: bool, tally: Tally) -> None:
    one, two = world.sites[:2]
    for number in range(10 if everything else 1):
        with tally.run("wrong host key or certificate", f"ctrl, swap {number}"):
            for site in (one, two):
                site.hold(foreign_pair())
            trust = world.trust([one, two])
            before = {site.id: site.holds for site in (one, two)}
            logins = [site.xmail.seen.logins for site in (one, two)]
            deployment = world.stage.do(
                "order", pair=world.next_pair()["id"], hosts=[one.id, two.id],
                trust={str(one.id): trust[str(two.id)], str(two.id): trust[str(one.id)]},
            )  # fmt: skip
            world.stage.do("work", strict=True)
            for site, row in zip(
                (one, two), world.stage.do("state", deployment=deployment), strict=True
            ):
                assert (row["status"], row["code"]) == ("FAILED", "ctrl.wrong_certificate")
                world.check_site(site, row, before[site.id])
            assert [site.xmail.seen.logins for site in (one, two)] == logins, "it logged in"


@pytest.mark.slow
@pytest.mark.parametrize("world", ["ctrl"], indirect=True)
def test_let_in_no_more(world: World, everything: bool, tally: Tally) -> None:
    """Log-in refused, administrator removed in the midst, TLS switched off: no storm of tries."""
    world.sites = world.sites[:1]
    (site,) = world.sites
    faults, seen = site.xmail.faults, site.xmail.seen
    for case in ("login refused", "removed midway", "TLS dropped"):
        for number in range(5 if everything else 1):
            with tally.run("CTRL login refused, admin removed, TLS dropped", f"{case} {number}"):
                pair = world.next_pair()
                before = {site.id: site.holds}
                logins, handshakes = seen.failed_logins, seen.failed_handshakes["ctrl"]
                connections = seen.connections["ctrl"]
                if case == "login refused":
                    faults.logins_left = 0
                elif case == "removed midway":
                    faults.logins_left = 1
                    faults.services = frozenset({"ctrl"})
                    faults.cut_after_received = 2050 + 200 * number  # before the key, behind it
                    faults.cuts_left = 1
                else:
                    settings = site.root / "server.tab"
                    text = settings.read_text()
                    settings.write_text(text + '"EnableCTRL-TLS"\t"0"\n')
                deployment = world.order(pair=pair)
                worker = world.stage.begin("work", strict=True, within_s=60)
                worker.result()
                tries = seen.failed_logins - logins, seen.failed_handshakes["ctrl"] - handshakes
                assert max(tries) <= MOST_TRIES, f"{tries} log-ins and handshakes tried in vain"
                assert seen.connections["ctrl"] - connections <= 2 * MOST_TRIES + 1
                faults.logins_left = faults.cut_after_received = faults.cuts_left = None
                if case == "TLS dropped":
                    settings.write_text(text)
                (row,) = world.stage.do("state", deployment=deployment)
                half = site.holds not in {before[site.id], as_files(pair)}
                unknown = "install.by_hand" if half else "install.unknown_state"
                if half or row["code"] == unknown:
                    # Nobody was let in to look or to make it whole, and that is what is told.
                    assert (row["status"], row["code"]) == ("FAILED", unknown)
                    assert "ctrl.bad_login" in row["notes"]
                    site.hold(before[site.id])
                    again = world.order(pair=pair)
                    world.stage.do("work")
                    world.check(again, before)
                else:
                    world.check(deployment, before)


@pytest.mark.slow
def test_roll_backs(world: World, everything: bool, tally: Tally) -> None:
    """Rolled back, once more, and where there is nothing to go back to."""
    world.sites = world.sites[:5]
    for number in range(10 if everything else 1):
        with tally.run("roll back, twice, or with nothing to go back to", f"run {number}"):
            old = foreign_pair()
            for site in world.sites:
                site.hold(old)
            pair = world.next_pair()
            deployment = world.order(pair=pair)
            world.stage.do("work")
            assert {site.holds for site in world.sites} == {as_files(pair)}
            asked = [world.stage.begin("roll_back", deployment=deployment) for _ in range(2)]
            rolled = [process.result() for process in asked]
            world.stage.do("work")
            assert any(isinstance(each, int) for each in rolled)
            assert {site.holds for site in world.sites} == {old}, "rolled back too far"
            refused = world.stage.do("roll_back", deployment=deployment)
            assert refused == "rollback.nothing_left"
            unusable = (old[0], foreign_pair()[1])
            for site in world.sites:
                site.hold(unusable)
            deployment = world.order()
            world.stage.do("work")
            holds = {site.holds for site in world.sites}
            refused = world.stage.do("roll_back", deployment=deployment)
            assert refused == "rollback.unusable"
            assert {site.holds for site in world.sites} == holds

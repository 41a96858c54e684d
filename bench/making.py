"""Making a pair, against `openssl req -x509` with the same kind of key."""

from __future__ import annotations

import sqlite3
import statistics
import subprocess
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bench.measure import alternate, met, table
from bench.portal import HOME
from tests.portal import Portal
from tests.visitor import Visitor

MOST, MOST_ADDED_MS = 0.6, 150
FORM = {
    "country": "JP", "state": "Tokyo", "locality": "Shibuya-ku", "organization": "Xmail Co., Ltd.",
    "common_name": "mail.dojo.jp", "key_size": "ec-256", "days": "825",
}  # fmt: skip
KEYS = {
    "rsa-2048": ["-newkey", "rsa:2048"],
    "rsa-3072": ["-newkey", "rsa:3072"],
    "rsa-4096": ["-newkey", "rsa:4096"],
    "ec-256": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "ec-384": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
}


def against_openssl(times: int) -> str:
    """Returns the table of key types; five times `times` keys are made of each."""
    from certs.issue import issue
    from tests.factories import pair_spec

    rows = []
    for key, options in KEYS.items():
        spec = pair_spec(key_size=key)

        def openssl(options: list[str] = options) -> None:
            with tempfile.TemporaryDirectory() as scratch:
                subprocess.run(
                    [
                        "openssl", "req", "-x509", *options, "-noenc", "-days", "825",
                        "-subj", "/C=JP/ST=Tokyo/O=Xmail/CN=mail.dojo.jp",
                        "-addext", "subjectAltName=DNS:mail.dojo.jp",
                        "-keyout", Path(scratch, "k"), "-out", Path(scratch, "c"),
                    ],
                    check=True, capture_output=True,
                )  # fmt: skip

        samples = alternate(
            {"ours": partial(issue, spec, datetime.now(UTC)), "openssl": openssl},
            5 * times,
        )
        ours, theirs = samples["ours"], samples["openssl"]
        ratio = ours.median_s / theirs.median_s
        target = (f"≤ {MOST} ×", met(ratio <= MOST)) if key.startswith("rsa") else ("", "")
        shown = [each * 1000 for each in (ours.median_s, ours.worst_s, theirs.median_s)]
        rows.append([key, *shown, theirs.worst_s * 1000, f"{ratio:.2f} ×", *target])
    head = ["key", "ours, median ms", "worst", "openssl req, median ms", "worst", "ratio"]
    return table([*head, "target", "met?"], rows)


def through_the_portal(times: int) -> str:
    """Returns the table of what a running portal adds: from the POST until the pair is issued.

    The key is of the quickest kind, so that what is seen is nearly all the portal's.
    """
    from certs.issue import issue
    from tests.factories import pair_spec

    made = alternate({"": partial(issue, pair_spec(), datetime.now(UTC))}, 5 * times)[""].median_s
    waited = []
    with tempfile.TemporaryDirectory(dir=HOME) as folder:
        portal = Portal(Path(folder) / "portal")
        with portal.up():
            visitor = Visitor(portal)
            visitor.sign_in()
            for _ in range(5 * times + 1):
                page = visitor.post("/pairs/new/", **FORM)
                sent = time.time() - page.took_s  # the answer to the POST leads to another page
                assert page.status == 200, page.text
                waited.append(_issued_at(portal) - sent)
    ms = [1000 * (each - made) for each in waited[1:]]  # the first one loads the code
    added = statistics.median(ms)
    row = ["ec-256", 1000 * made, added, max(ms), f"≤ {MOST_ADDED_MS}", met(added <= MOST_ADDED_MS)]
    head = ["key", "generation alone, ms", "the portal adds, median ms", "worst", "target", "met?"]
    return table(head, [row])


def _issued_at(portal: Portal) -> float:
    """Waits until the newest pair is issued and returns when that was, by the audit."""
    while True:
        with closing(sqlite3.connect(portal.home / "xmailadmin.sqlite3")) as database:
            ((status, at),) = database.execute(
                "select p.status, max(e.at) from certs_pair p left join xmailadmin_auditentry e"
                " on e.object_type = 'pair' and e.object_id = p.id and e.action = 'pair.issued'"
                " where p.id = (select max(id) from certs_pair)"
            )
        if status == "ISSUED":
            return datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
        time.sleep(0.02)

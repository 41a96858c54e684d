"""Making a pair, against `openssl req -x509` with the same kind of key."""

from __future__ import annotations

import subprocess
import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bench.measure import alternate, table
from certs.spec import PairSpec

KEYS = {
    "rsa-2048": ["-newkey", "rsa:2048"],
    "rsa-3072": ["-newkey", "rsa:3072"],
    "rsa-4096": ["-newkey", "rsa:4096"],
    "ec-256": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "ec-384": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
}


def against_openssl(times: int) -> str:
    """Returns the table of key types; `times` is the least number of keys made of each."""
    from certs.issue import issue
    from certs.models import Pair
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

        def portal(spec: PairSpec = spec) -> None:
            Pair.objects.request(spec, by=None).make()

        samples = alternate(
            {
                "generation": partial(issue, spec, datetime.now(UTC)),
                "openssl req": openssl,
                "request to issued": portal,
            },
            times * (1 if key == "rsa-4096" else 3),
        )
        made, theirs, whole = samples.values()
        rows.append(
            [
                key, made.median_s * 1000, theirs.median_s * 1000,
                f"{made.median_s / theirs.median_s:.2f} ×",
                (whole.median_s - made.median_s) * 1000,
            ]
        )  # fmt: skip
    return table(["key", "generation, ms", "openssl req, ms", "ratio", "the portal adds, ms"], rows)

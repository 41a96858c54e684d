"""Which clients will have trouble with exactly this certificate, and that history keeps it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import translation

from certs import pair
from certs.clients import notes_for
from certs.facts import CertificateFacts
from certs.issue import issue
from certs.judgement import Judgement, facts_of_spec, judge
from certs.judgement_texts import EFFECTS, REMEDIES, SENTENCES
from certs.models import ClientNote
from certs.note_snapshots import judgement_in, notes_in, snapshot_for
from tests.factories import pair_spec

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def facts() -> CertificateFacts:
    return facts_of_spec(pair_spec(key_size="rsa-2048"), NOW)


def codes(judgement: Judgement) -> list[str]:
    return [concern.code for concern in judgement.concerns]


def troubled(judgement: Judgement, code: str) -> set[str]:
    (concern,) = [concern for concern in judgement.concerns if concern.code == code]
    return {verdict.slug for verdict in concern.clients}


def test_what_the_portal_makes_has_no_flaw(facts: CertificateFacts) -> None:
    judgement = judge(facts, host_names=["mail.dojo.jp"], now=LATER)
    assert codes(judgement) == ["self_signed"]
    assert judgement.level == "info"
    assert not judgement.flawed
    effects = {verdict.slug: verdict.effect for verdict in judgement.verdicts}
    assert len(effects) == 21
    assert {slug for slug, effect in effects.items() if effect == "fine"} == {
        "getmail6", "openssl-s-client", "python-no-context", "swaks",
    }  # fmt: skip
    assert "exception" not in effects.values()


def test_a_certificate_that_is_not_made_yet_is_judged_like_the_one_that_is() -> None:
    spec = pair_spec(aliases="dojo.jp")
    made = pair.facts(issue(spec, NOW).certificate_pem)
    before = facts_of_spec(spec, NOW)
    assert judge(before, now=LATER) == judge(made, now=LATER)
    assert (before.key_label, before.names) == (made.key_label, made.names)


@pytest.mark.parametrize(
    ("changes", "code", "level", "clients"),
    [
        ({"extensions": ()}, "no_san", "warning", {"thunderbird"}),
        ({"is_ca": True}, "ca_true", "warning", {"thunderbird"}),
        ({"not_after": NOW}, "expired", "error", None),
        (
            {"not_before": NOW - timedelta(days=300), "not_after": NOW + timedelta(days=20)},
            "expires_soon",
            "warning",
            set(),
        ),
        ({"not_before": NOW, "not_after": NOW + timedelta(days=30)}, "short_lived", "info", set()),
        ({"not_before": NOW + timedelta(days=2)}, "not_yet_valid", "error", set()),
        ({"key_label": "RSA 1024", "key_size": 1024}, "weak_key", "error", None),
        ({"key_label": "EC P-384", "key_size": 384}, "key_unmeasured", "info", set()),
        ({"signature_algorithm": "sha1WithRSAEncryption"}, "apple_sha1", "warning", set()),
        ({"not_after": NOW + timedelta(days=900)}, "apple_days", "warning", set()),
    ],
)
def test_each_flaw_is_named(
    facts: CertificateFacts,
    changes: dict[str, Any],
    code: str,
    level: str,
    clients: set[str] | None | None,
) -> None:
    judgement = judge(replace(facts, **changes), now=LATER)
    assert {c.level for c in judgement.concerns if c.code == code} == {level}
    if clients is None:
        assert len(troubled(judgement, code)) > 10
    else:
        assert troubled(judgement, code) == clients


def test_a_weak_key_works_nowhere(facts: CertificateFacts) -> None:
    judgement = judge(replace(facts, key_label="RSA 1024", key_size=1024), now=LATER)
    assert {verdict.effect for verdict in judgement.verdicts} == {"never"}
    assert judgement.concerns[0].code == "weak_key"


def test_a_name_that_the_certificate_does_not_hold(facts: CertificateFacts) -> None:
    judgement = judge(facts, host_names=["mail.dojo.jp", "pop.dojo.jp"], now=LATER)
    assert judgement.flawed
    assert troubled(judgement, "mismatch") >= {"thunderbird", "curl", "fetchmail"}
    assert not troubled(judgement, "mismatch") & {"swaks", "msmtp", "javax-mail"}
    with translation.override("en"):
        assert judgement.concerns[0].text.endswith(": pop.dojo.jp")


def test_a_private_authority_is_named_as_such(facts: CertificateFacts) -> None:
    assert codes(judge(replace(facts, self_signed=False), now=LATER)) == ["private_ca"]


def test_what_the_team_noted_counts(facts: CertificateFacts) -> None:
    ClientNote.objects.create(
        key="own-x", client="New Mail", client_slug="new-mail", os="Haiku", protocol="SMTP",
        certificate_kind="self-signed", mark="none", source="reported",
    )  # fmt: skip
    effects = {v.slug: v.effect for v in judge(facts, now=LATER).verdicts}
    assert effects["new-mail"] == "never"


def test_it_costs_one_query(facts: CertificateFacts, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        judge(facts, now=LATER)


def test_it_survives_json_and_what_a_later_release_forgot(facts: CertificateFacts) -> None:
    judgement = judge(facts, host_names=["x.example"], now=LATER)
    kept = judgement.to_json()
    assert Judgement.from_json(kept) == judgement
    kept["concerns"] = [{**kept["concerns"][0], "code": "of-old"}, *kept["concerns"][1:]]
    assert codes(Judgement.from_json(kept)) == codes(judgement)[1:]


def test_history_keeps_it_as_it_was(facts: CertificateFacts) -> None:
    snapshot = snapshot_for(facts, host_names=["x.example"], now=LATER)
    ClientNote.objects.filter(client_slug="thunderbird").update(mark="good")
    snapshot.refresh_from_db()
    then, today = judgement_in(snapshot), judge(facts, host_names=["x.example"], now=LATER)
    assert then is not None
    assert "thunderbird" in troubled(then, "mismatch")
    assert "thunderbird" not in troubled(today, "mismatch")


def test_history_keeps_which_notes_mail_users_read(facts: CertificateFacts) -> None:
    note = notes_for(facts, host_names=["x.example"]).filter(for_mail_users=True).earliest("pk")
    ClientNote.objects.filter(pk=note.pk).update(for_mail_users=False)
    snapshot = snapshot_for(facts, host_names=["x.example"], now=LATER)
    ClientNote.objects.update(for_mail_users=True)
    snapshot.refresh_from_db()
    kept = {note.key: note.for_mail_users for note in notes_in(snapshot)}
    assert kept.pop(note.key) is False
    assert True in kept.values()


def test_a_snapshot_from_before_judgements_has_none(facts: CertificateFacts) -> None:
    snapshot = snapshot_for(facts, now=LATER)
    del snapshot.content["judgement"]
    assert judgement_in(snapshot) is None


def test_names_that_fit_need_no_snapshot_of_their_own(facts: CertificateFacts) -> None:
    assert snapshot_for(facts, now=LATER) == snapshot_for(
        facts, host_names=["mail.dojo.jp"], now=LATER
    )


def test_every_word_exists() -> None:
    assert set(REMEDIES) < set(SENTENCES)
    assert set(EFFECTS) == {"fine", "setting", "exception", "never"}

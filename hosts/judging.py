"""Judges a pair for the hosts that it shall go to, before it is made or installed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from django.http import HttpRequest
from django.utils import timezone

from certs.judgement import Judgement, facts_of_spec, judge
from certs.models import Pair
from certs.spec import PairSpec
from hosts.client_names import client_names
from hosts.models import Host

__all__ = ["is_accepted", "judge_pair", "judge_spec", "mark_of"]


def judge_spec(spec: PairSpec, hosts: Iterable[Host]) -> Judgement:
    """Returns what to know about a pair that is not made yet."""
    now = timezone.now()
    return judge(facts_of_spec(spec, now), host_names=client_names(hosts), now=now)


def judge_pair(pair: Pair, hosts: Iterable[Host]) -> Judgement | None:
    """Returns what to know about the pair on these hosts; None if it has no certificate."""
    if pair.pending and pair.spec:
        return judge_spec(PairSpec.from_json(pair.spec), hosts)
    facts = pair.facts()
    if facts is None:
        return None
    return judge(facts, host_names=client_names(hosts), now=timezone.now())


def is_accepted(request: HttpRequest, judgement: Judgement | None) -> bool:
    """True if nothing is flawed, or the person has seen exactly these flaws and goes on."""
    if judgement is None or not judgement.flawed:
        return True
    return request.POST.get("judged") == mark_of(judgement)


def mark_of(judgement: Judgement | None) -> str:
    """Returns what a form sends back to show which flaws the person has seen."""
    if judgement is None:
        return ""
    seen = [[concern.code, dict(concern.params)] for concern in judgement.concerns]
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()[:16]

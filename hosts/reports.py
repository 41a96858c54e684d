"""Installations, pairs and findings as plain JSON objects with stable keys, for commands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from certs.models import Pair
from hosts.messages import Message
from hosts.models import Diagnosis, Installation
from hosts.probe import EndpointResult
from hosts.wording import word

__all__ = [
    "endpoints_json",
    "findings_json",
    "installation_json",
    "installation_line",
    "pair_json",
]


def pair_json(pair: Pair) -> dict[str, Any]:
    return {
        "id": pair.pk,
        "status": pair.status,
        "common_name": pair.common_name,
        "names": pair.names.split("\n") if pair.names else [],
        "key": pair.key_label,
        "sha256": pair.sha256,
        "not_before": _iso(pair.not_before),
        "not_after": _iso(pair.not_after),
        "memo": pair.memo,
    }


def installation_json(row: Installation) -> dict[str, Any]:
    return {
        "id": row.pk,
        "host": row.host_name,
        "deployment": row.deployment_id,
        "status": row.status,
        "code": (row.message or {}).get("code", ""),
        "message": _worded(row.message),
        "pair": row.pair_id,
        "previous_pair": row.previous_pair_id,
        "endpoints": [_endpoint(each) for each in row.endpoints],
        "steps": [{**step, "message": _worded(step["message"])} for step in row.steps],
        "notes": [_worded(note) for note in row.notes],
    }


def endpoints_json(results: Iterable[EndpointResult]) -> list[dict[str, Any]]:
    return [_endpoint(result.to_json()) for result in results]


def _endpoint(result: dict[str, Any]) -> dict[str, Any]:
    told = {name: result[name] for name in ("name", "port", "ok", "sha256")}
    return {**told, "message": _worded(result["message"])}


def installation_line(row: Installation) -> str:
    return f"{row.host_name}: {row.status} - {_worded(row.message)}"


def findings_json(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    return [
        {
            "host": diagnosis.host.name,
            "code": finding["code"],
            "level": finding["level"],
            "message": _worded(finding["message"]),
            "remedy": _worded(finding["remedy"]),
        }
        for finding in diagnosis.findings
    ]


def _worded(message: dict[str, Any] | None) -> str:
    return word(Message.from_json(message)) if message else ""


def _iso(value: Any) -> str | None:
    return None if value is None else value.isoformat()

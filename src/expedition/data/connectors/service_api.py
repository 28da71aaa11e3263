"""Manners of a documented web API: no robots.txt, a secret from the environment, JSON answers, errors a person can act on."""

from __future__ import annotations

import json
import os
from typing import Any

from expedition.data.connectors.client import Client, Reply
from expedition.data.connectors.failure import FetchFailed, FetchReason
from expedition.errors import UsageError


def api_client(client: Client) -> Client:
    """The same client (connections, pace, stop) for a service's documented API endpoints.

    robots.txt (RFC 9309) and page opt-outs speak to crawlers; an API that is offered to programs, used under its own
    terms and limits, is no page. Never use this for an address that a user or a page gave.
    """
    return client.varied(client.policy.model_copy(update={"obey_robots": False, "honour_opt_out": False}))


def paid_client(client: Client) -> Client:
    """An `api_client` for small requests that use up a quota: one under way is finished though the run is stopped."""
    policy = api_client(client).policy
    bounds = {"attempts": min(policy.attempts, 3), "total_s": min(policy.total_s, 60.0), "max_retry_after_s": 30.0}
    return client.varied(policy.model_copy(update=bounds), stoppable=False)


def secret(variable: str, what: str, fix: str) -> str:
    """A key or token from the environment; it is never in a programme, a log or a URL. Raises UsageError."""
    value = os.environ.get(variable, "").strip()
    if not value:
        raise UsageError(f"{what} needs ${variable}, which is not set", fix=fix)
    if not value.isascii() or any(letter.isspace() for letter in value):
        raise UsageError(f"${variable} holds characters that no token has", fix=fix)
    return value


def json_of(reply: Reply) -> Any:
    """The value of a JSON answer. Raises FetchFailed (WRONG_CONTENT)."""
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise FetchFailed(FetchReason.WRONG_CONTENT, f"no JSON: {str(error)[:80]}", reply.url) from None


def said(reply: Reply) -> str:
    """What an error answer says, short and on one line."""
    try:
        value = json.loads(reply.body)
    except (ValueError, RecursionError):
        return f"status {reply.status}"
    if isinstance(value, dict):
        inner = value.get("error")
        message = inner.get("message") if isinstance(inner, dict) else value.get("message")
        if isinstance(message, str):
            return f"status {reply.status}: {' '.join(message.split())[:200]}"
    return f"status {reply.status}"

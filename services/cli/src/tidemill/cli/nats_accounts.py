"""Accounts and users of a NATS server for Tidemill: one user for each service, with what it needs and no more."""

from collections.abc import Mapping, Sequence
from typing import Any

import bcrypt

from tidemill.common.bus.rights import permissions_of
from tidemill.common.service import ServiceSpec

OPERATOR, TRIGGER, SYSTEM, ROUTE = "operator", "trigger", "system", "route"
ACCOUNT, SYSTEM_ACCOUNT = "TIDEMILL", "SYSTEM"
COST = 10
"""Of bcrypt: these passwords are random and long, and are checked whenever a service connects."""
ANSWERS = {"max": 1, "expires": "5m"}
"""To who asked a service: once, and within the time of the slowest command."""
TRIGGERS = {
    "publish": {"allow": ["tidemill.trigger.*", "tidemill.ctl.scheduler.run"]},
    "subscribe": {"allow": ["_INBOX.>"]},
}
"""For programs of others that begin runs."""


def user_names(specs: Sequence[ServiceSpec]) -> list[str]:
    return [*(spec.name for spec in specs), OPERATOR, TRIGGER, SYSTEM, ROUTE]


def accounts(specs: Sequence[ServiceSpec], passwords: Mapping[str, str]) -> dict[str, Any]:
    """What stands in a server's configuration; the passwords are hashed."""

    def user(name: str, permissions: Mapping[str, Any] | None = None) -> dict[str, Any]:
        hashed = bcrypt.hashpw(passwords[name].encode(), bcrypt.gensalt(COST)).decode()
        return {"user": name, "password": hashed} | ({"permissions": permissions} if permissions else {})

    services = [user(spec.name, _permissions(spec)) for spec in specs]
    return {
        "accounts": {
            ACCOUNT: {"jetstream": "enabled", "users": [*services, user(OPERATOR), user(TRIGGER, TRIGGERS)]},
            SYSTEM_ACCOUNT: {"users": [user(SYSTEM)]},
        },
        "system_account": SYSTEM_ACCOUNT,
    }


def _permissions(spec: ServiceSpec) -> dict[str, Any]:
    allowed = permissions_of(spec.name, spec.uses)
    return {
        "publish": {"allow": list(allowed.publish)},
        "subscribe": {"allow": list(allowed.subscribe)},
        "allow_responses": ANSWERS,
    }

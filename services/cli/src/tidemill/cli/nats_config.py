"""`tidemill nats-config`: configuration of NATS servers with a user for each service, made of what services declare."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tidemill.cli.password_files import passwords, write_secret
from tidemill.cli.running import fail, services_named

CLIENTS, MONITOR, ROUTES = 4222, 8222, 6222
SIZE = re.compile(r'"(\d+[KMG]B)"')
BEGIN = "# Written by `tidemill nats-config`; renew it when a release changes what services say to one another.\n"


def register(app: typer.Typer) -> None:
    app.command("nats-config")(nats_config)


def nats_config(
    folder: Annotated[
        Path, typer.Option("--passwords", metavar="DIR", help="Folder with each user's password in a file nats-USER.")
    ],
    make: Annotated[bool, typer.Option("--make", help="Make the passwords that are missing there.")] = False,
    server: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Host name of the server; several are a cluster.")
    ] = None,
    to: Annotated[Path | None, typer.Option(metavar="DIR", help="Write NAME.conf for each server there.")] = None,
    store: Annotated[str, typer.Option(metavar="DIR", help="Where the server keeps streams.")] = "/data",
    tls: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Where the server has tls.crt, tls.key, ca.crt; none: no TLS."),
    ] = None,
    accounts_only: Annotated[
        bool, typer.Option("--accounts-only", help="Print accounts and users alone, as JSON: for the chart of NATS.")
    ] = False,
) -> None:
    """Print or write the configuration of NATS: each service may do its work on the bus, and nothing else."""
    from tidemill.cli.nats_accounts import accounts, user_names

    specs = services_named()
    known = passwords(folder, "nats", user_names(specs), make=make)
    names = server or ["nats"]
    if accounts_only:
        typer.echo(json.dumps(accounts(specs, known), indent=2))
        return
    if to is None and len(names) > 1:
        fail("a cluster has a file for each server: say where with --to DIR")
    users = accounts(specs, known)
    for name in names:
        text = server_config(name, names, users, known, store=store, tls=tls)
        if to is None:
            typer.echo(text, nl=False)
        else:
            write_secret(to / f"{name}.conf", text)


def server_config(
    name: str,
    cluster: Sequence[str],
    users: Mapping[str, Any],
    passwords: Mapping[str, str],
    *,
    store: str = "/data",
    tls: str | None = None,
) -> str:
    """One server's file. Where there is a cluster it holds the password of its routes, which other servers are told."""
    sections: dict[str, Any] = {
        "listen": f"0.0.0.0:{CLIENTS}",
        "http": f"0.0.0.0:{MONITOR}",
        "server_name": name,
        "max_payload": "8MB",
        "jetstream": {"store_dir": store, "max_file_store": "64GB"},
    }
    if tls is not None:
        sections["tls"] = _tls(tls)
    if len(cluster) > 1:
        sections["cluster"] = _cluster(name, cluster, passwords["route"], tls)
    return BEGIN + "".join(section(key, value) for key, value in (sections | dict(users)).items())


def section(key: str, value: Any) -> str:
    """As nats-server reads it: JSON, with bare sizes."""
    written = SIZE.sub(r"\1", json.dumps(value, indent=2))
    return f"{key}: {written}\n"


def _cluster(name: str, cluster: Sequence[str], password: str, tls: str | None) -> dict[str, Any]:
    from tidemill.cli.nats_accounts import ROUTE

    routes = [f"nats://{ROUTE}:{password}@{other}:{ROUTES}" for other in cluster if other != name]
    return {
        "name": "tidemill",
        "listen": f"0.0.0.0:{ROUTES}",
        "authorization": {"user": ROUTE, "password": password},
        "routes": routes,
    } | ({"tls": {**_tls(tls), "verify": True}} if tls is not None else {})


def _tls(folder: str) -> dict[str, Any]:
    return {"cert_file": f"{folder}/tls.crt", "key_file": f"{folder}/tls.key", "ca_file": f"{folder}/ca.crt"}

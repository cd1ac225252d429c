"""SQL that gives each service a role of its own in Postgres: its schema, what it reads of others, and no more."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tidemill.common.config.versions import SHARED_TABLE
from tidemill.common.revisions import VERSION_TABLE, schema_of
from tidemill.common.service import EVERY, ServiceSpec

READER = "reader"
"""Sees everything and changes nothing: for the command line, and for people."""
ITERATIONS = 4096


def role_of(service: str) -> str:
    return f"tidemill_{service}"


def roles_sql(specs: Sequence[ServiceSpec], views: Iterable[str], passwords: Mapping[str, str], database: str) -> str:
    """Run as the role that migrates, which owns the tables, after each migration. `views`: schemas with the typed views
    of datasets, which the converter's are. Passwords stand in it as SCRAM verifiers."""
    views = sorted(views)
    config = SHARED_TABLE.partition(".")[0]
    schemas = [*(schema_of(spec) for spec in specs), config, *views]
    lines = ["BEGIN;", f'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC;', "REVOKE ALL ON SCHEMA public FROM PUBLIC;"]
    lines += [f'CREATE SCHEMA IF NOT EXISTS "{schema}";' for schema in schemas]
    for spec in specs:
        role, own = role_of(spec.name), schema_of(spec)
        read = {*schemas} if EVERY in spec.reads else {*spec.reads, config}
        if own == "converter" or "converter" in read:
            read |= {*views}
        lines += _role(role, passwords[spec.name], database, schemas)
        lines += _reads(role, sorted(read - {own}))
        lines += _writes(role, own)
        lines.append(f'REVOKE INSERT, UPDATE, DELETE ON "{own}".{VERSION_TABLE} FROM {role};')
        if own == "scheduler":  # It keeps the versions of the configuration.
            lines += _writes(role, config)
        else:
            lines.append(f"GRANT INSERT, UPDATE, DELETE ON {SHARED_TABLE} TO {role};")
    reader = role_of(READER)
    lines += [*_role(reader, passwords[READER], database, schemas), *_reads(reader, schemas), "COMMIT;"]
    return "\n".join(lines) + "\n"


def _role(role: str, password: str, database: str, schemas: Iterable[str]) -> Iterator[str]:
    """Without anything that an earlier release needed."""
    yield f"-- {role}"
    exists = f"SELECT FROM pg_roles WHERE rolname = '{role}'"
    yield f"DO $$ BEGIN IF NOT EXISTS ({exists}) THEN CREATE ROLE {role}; END IF; END $$;"
    yield f"ALTER ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '{scram(password)}';"
    yield f'GRANT CONNECT ON DATABASE "{database}" TO {role};'
    for schema in schemas:
        yield f'REVOKE ALL ON ALL TABLES IN SCHEMA "{schema}" FROM {role};'
        yield f'ALTER DEFAULT PRIVILEGES IN SCHEMA "{schema}" REVOKE ALL ON TABLES FROM {role};'
        yield f'REVOKE ALL ON SCHEMA "{schema}" FROM {role};'


def _reads(role: str, schemas: Iterable[str]) -> Iterator[str]:
    for schema in schemas:
        yield f'GRANT USAGE ON SCHEMA "{schema}" TO {role};'
        yield f'GRANT SELECT ON ALL TABLES IN SCHEMA "{schema}" TO {role};'
        yield f'ALTER DEFAULT PRIVILEGES IN SCHEMA "{schema}" GRANT SELECT ON TABLES TO {role};'


def _writes(role: str, schema: str) -> Iterator[str]:
    rows = "SELECT, INSERT, UPDATE, DELETE"
    yield f'GRANT USAGE ON SCHEMA "{schema}" TO {role};'
    yield f'GRANT {rows} ON ALL TABLES IN SCHEMA "{schema}" TO {role};'
    yield f'GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA "{schema}" TO {role};'
    yield f'ALTER DEFAULT PRIVILEGES IN SCHEMA "{schema}" GRANT {rows} ON TABLES TO {role};'
    yield f'ALTER DEFAULT PRIVILEGES IN SCHEMA "{schema}" GRANT USAGE, SELECT ON SEQUENCES TO {role};'


def scram(password: str) -> str:
    """What Postgres keeps of a password, by RFC 5803: nobody can log in with it."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    parts = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return "SCRAM-SHA-256${}:{}${}:{}".format(ITERATIONS, *parts)

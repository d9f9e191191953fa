"""What is wrong with an installation, and how to mend it. Looks only; changes nothing."""

import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

import psycopg
from bulkhead_kit import keyrotation, migrations, roles
from bulkhead_kit.db.database import known_holes
from bulkhead_kit.keywatch import KeyFileError

from bulkhead_cli import database, endpoints, ports
from bulkhead_cli.endpoints import Endpoints
from bulkhead_cli.errors import MendableError
from bulkhead_cli.postgres import binaries
from bulkhead_cli.programs import SERVICES
from bulkhead_cli.settings import CliSettings
from bulkhead_cli.up import health

OLD_KEY_DAYS = 365
PACKAGES = ("bulkhead-kit", "bulkhead-contracts", "bulkhead-postgres", *(f"bulkhead-{name}" for name in SERVICES))


@dataclass(frozen=True)
class Finding:
    what: str
    verdict: str
    """ok, note (works, but look at it) or broken."""
    detail: str
    mend: str = ""


def ok(what: str, detail: str) -> Finding:
    return Finding(what, "ok", detail)


def note(what: str, detail: str, mend: str) -> Finding:
    return Finding(what, "note", detail, mend)


def broken(what: str, detail: str, mend: str) -> Finding:
    return Finding(what, "broken", detail, mend)


def examine(settings: CliSettings) -> Iterator[Finding]:
    yield python()
    yield packages()
    yield programs_of_postgres(settings)
    state = settings.state.resolve()
    yield folder(state)
    yield from key_files(state / "keys")
    running = running_in(state)
    if running is None:
        yield note("installation", f"none runs in {state}", "start it with `bulkhead up`.")
        yield from (free_port(settings, service) for service in SERVICES)
        admin = settings.given_database
    else:
        yield ok("installation", f"process {running.pid}")
        yield from (service_health(service, address) for service, address in running.services.items())
        yield from logins(running)
        admin = running.database_admin
    if admin is not None:
        yield from the_database(admin)


def python() -> Finding:
    return ok("python", f"{'.'.join(map(str, sys.version_info[:3]))} in {sys.prefix}")


def packages() -> Finding:
    missing = [name for name in PACKAGES if not installed(name)]
    if missing:
        return broken("packages", f"missing: {', '.join(missing)}", "run `make install`.")
    versions = {metadata.version(name) for name in PACKAGES}
    if len(versions) > 1:
        return broken("packages", f"of several versions: {', '.join(sorted(versions))}", "run `make install`.")
    return ok("packages", f"bulkhead {versions.pop()}")


def installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return util.find_spec("bulkhead" if name == "bulkhead-contracts" else name.replace("-", "_")) is not None


def programs_of_postgres(settings: CliSettings) -> Finding:
    if settings.given_database is not None:
        return ok("postgres programs", "not needed: BULKHEAD_DATABASE_URL is set")
    try:
        found = binaries.find()
    except MendableError as error:
        return broken("postgres programs", error.what, error.mend)
    return ok("postgres programs", f"{found.version}, {found.origin}: {found.folder}")


def folder(state: Path) -> Finding:
    if not state.exists():
        return ok("state folder", f"{state} will be made")
    mode = stat.S_IMODE(state.stat().st_mode)
    try:
        next(state.iterdir(), None)
    except PermissionError:
        return broken("state folder", f"{state} belongs to another user", "run as that user, or set BULKHEAD_STATE.")
    if mode & 0o077:
        return broken("state folder", f"{state} is open to others ({mode:o})", f"chmod 700 {state}")
    return ok("state folder", str(state))


def key_files(keys: Path) -> Iterator[Finding]:
    private = sorted([*keys.glob("*.private.pem"), *keys.glob("*.key")])
    if not private:
        yield note("keys", f"none in {keys} yet", "`bulkhead up` or `bulkhead keys` makes them.")
        return
    open_files = [file for file in private if stat.S_IMODE(file.stat().st_mode) & 0o077]
    for file in open_files:
        yield broken("keys", f"{file} can be read by others", f"chmod 600 {file}, and replace the key if others did.")
    if not open_files:
        yield ok("keys", f"{len(private)} private keys in {keys}")
        for name in keyrotation.held(keys):
            yield key_rotation(keys, name)


def key_rotation(keys: Path, name: str) -> Finding:
    what = f"key {name}"
    try:
        state = keyrotation.state_of(keys, name)
    except KeyFileError as error:
        return broken(what, str(error), "restore the file, or make new keys with `bulkhead keys`.")
    days = int(state.signing_seconds // 86400)
    if state.signs not in state.published:
        return broken(what, f"{state.signs} signs and is not in {name}.public.pem", f"bulkhead keys rotate {name}")
    if state.upcoming is not None:
        return note(what, "a rotation has begun and is not finished", f"bulkhead keys rotate {name}")
    if state.retired and state.seconds_until_prune == 0:
        return note(what, f"an old key is still believed: {', '.join(state.retired)}", f"bulkhead keys prune {name}")
    if days > OLD_KEY_DAYS:
        return note(what, f"signs for {days} days", f"bulkhead keys rotate {name}")
    return ok(what, f"{state.signs} signs" + (", the one before still verifies" if state.retired else ""))


def running_in(state: Path) -> Endpoints | None:
    try:
        return endpoints.read(state)
    except MendableError:
        return None


def free_port(settings: CliSettings, service: str) -> Finding:
    host, port = ports.parts(settings.listen(service))
    if port is None or ports.is_free(port, host):
        return ok(f"port of {service}", f"{settings.listen(service)} is free")
    return broken(f"port of {service}", f"{port} is taken", ports.listen_elsewhere(service, port))


def service_health(service: str, address: str) -> Finding:
    status = health(address)
    if status == "SERVING":
        return ok(f"{service} service", address)
    return broken(f"{service} service", f"{address} answers {status}", "read its log; is the database there?")


def logins(running: Endpoints) -> Iterator[Finding]:
    refused = [role for role, dsn in running.database_roles.items() if not can_log_in(dsn)]
    if refused:
        yield broken("database logins", f"refused: {', '.join(refused)}", "restart `bulkhead up`, which sets them.")
    else:
        yield ok("database logins", f"{len(running.database_roles)} roles")


def can_log_in(dsn: str) -> bool:
    try:
        database.check_server(dsn)
    except MendableError:
        return False
    return True


def the_database(admin: str) -> Iterator[Finding]:
    try:
        version = database.check_server(admin)
    except MendableError as error:
        yield broken("database", error.what, error.mend)
        return
    yield server_version(version)
    yield from roles_of(admin)
    yield dumps(admin)
    yield open_functions(admin)
    for target in migrations.TARGETS:
        yield schema(admin, target.schema)


def roles_of(admin: str) -> Iterator[Finding]:
    with psycopg.connect(admin) as connection:
        connection.execute("set search_path = pg_catalog")
        faults = roles.look(connection)
        makers = [name for (name,) in connection.execute(MAKERS).fetchall()]
    if faults:
        yield broken("roles", roles.said(faults), database.mend_roles(faults))
    else:
        yield ok("roles", "each was made by migrate, and nobody else can take one")
    if makers:
        yield note(
            "role makers",
            f"before PostgreSQL 16 whoever may make roles can take every role: {', '.join(makers)}",
            "use PostgreSQL 16 or newer, or take CREATEROLE from them.",
        )


MAKERS = """
select r.rolname from pg_roles as r
where current_setting('server_version_num')::integer < 160000 and r.rolcreaterole and not r.rolsuper
    and r.oid <> (select d.datdba from pg_database as d where d.datname = current_database())
order by r.rolname
"""


def dumps(admin: str) -> Finding:
    """What a migration by an administrator who is no superuser has to leave to one."""
    with psycopg.connect(admin) as connection:
        ready = connection.execute(
            "select r.rolbypassrls and pg_has_role(r.oid, 'pg_read_all_data', 'usage') from pg_catalog.pg_roles as r"
            " where r.rolname = 'bulkhead_backup'"
        ).fetchone()
    if ready is None or ready[0]:
        return ok("dumps", "the login bulkhead_backup reads every table" if ready else "no login bulkhead_backup yet")
    return note(
        "dumps",
        "the login bulkhead_backup cannot make any",
        "as a superuser: alter role bulkhead_backup bypassrls inherit; grant pg_read_all_data to bulkhead_backup",
    )


# As roles.sql closes them.
OPEN_FUNCTIONS = """
select count(distinct p.oid) from pg_catalog.pg_proc as p,
    pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) as g
where p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace and g.grantee = 0 and p.proname
    ~ '^(pg_(try_)?advisory_.*|lo_.*|loread|lowrite|pg_logical_emit_message|pg_(cancel|terminate)_backend)$'
"""


def open_functions(admin: str) -> Finding:
    """Another thing that only a superuser can do."""
    with psycopg.connect(admin) as connection:
        (found,) = connection.execute(OPEN_FUNCTIONS).fetchone() or (0,)
    if not found:
        return ok("locks", "no login may hold locks of its choice, or make large objects")
    return note(
        "locks",
        f"{found} functions that take locks or fill the disk are open to every login",
        "as a superuser: bulkhead migrate",
    )


def server_version(version: int) -> Finding:
    holes = known_holes(version)
    if holes is not None:
        return note("database", holes, "do it before production: there the services refuse to work with it.")
    return ok("database", f"PostgreSQL {version // 10_000}.{version % 10_000}")


def schema(admin: str, name: str) -> Finding:
    is_at, belongs = migrations.current(admin, name), migrations.head(name)
    if is_at == belongs:
        return ok(f"schema {name}", str(is_at))
    if migrations.is_newer(is_at, name):
        return ok(f"schema {name}", f"{is_at}, of a newer release; this one needs {belongs}")
    return broken(f"schema {name}", f"is at {is_at or 'nothing'}, this code wants {belongs}", "run `bulkhead migrate`.")

"""`bulkhead import github-archive`: logs in, finds tenant and project, sends the archive."""

from __future__ import annotations

import asyncio
import getpass
import re
import sys
from pathlib import Path

from bulkhead.identity.v1 import tenant_service_pb2, tenant_service_pb2_grpc
from bulkhead.issues.v1 import project_service_pb2, project_service_pb2_grpc
from bulkhead_kit.errors import DomainError, NotFound
from rich.console import Console

from bulkhead_cli.endpoints import Endpoints
from bulkhead_cli.errors import MendableError
from bulkhead_cli.importing import archive, sending
from bulkhead_cli.importing.archive import Archive
from bulkhead_cli.output import console as console_of
from bulkhead_cli.output import plain
from bulkhead_cli.person import Person


def import_github_archive(
    endpoints: Endpoints,
    file: Path,
    *,
    tenant: str,
    project: str,
    email: str,
    password: str,
    source: str | None = None,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """The exit status: 1 when items were left out. Raises MendableError."""
    found = archive.read(file)
    if source is not None:
        found = found.under(_source(source))
    console = console_of(stderr=json)
    console.print(plain(found.line()))
    try:
        report = asyncio.run(_import(endpoints, found, tenant, project, (email, password), console, dry_run))
    except DomainError as error:
        raise MendableError(f"The import ended: {error.message} ({error.reason_name}).", _mend(error)) from None
    if json:
        sys.stdout.write(report.to_json() + "\n")
    else:
        report.show(console)
    return int(report.failed > 0)


def _source(given: str) -> str:
    if re.fullmatch("[!-~]{1,200}", given) is None:
        raise MendableError(f"{given} is no source.", "name one of 1 to 200 visible ASCII characters.")
    return given


def ask_password(email: str, file: Path | None) -> str:
    """From a file, or typed."""
    if file is None:
        return getpass.getpass(f"Password of {email}: ")
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise MendableError(f"{file} cannot be read: {error}.", "name a file with the password in it.") from None


async def _import(
    endpoints: Endpoints,
    found: Archive,
    tenant: str,
    project: str,
    login: tuple[str, str],
    console: Console,
    dry_run: bool,
) -> sending.Report:
    async with Person(endpoints, login[0], *login) as person:
        await person.log_in()
        await person.select(await _tenant_id(person, tenant))
        project_id = await _project_id(person, project)
        return await sending.send(person, found, project_id, console=console, dry_run=dry_run)


async def _tenant_id(person: Person, slug: str) -> str:
    tenants = tenant_service_pb2_grpc.TenantServiceStub(person.identity)
    known: list[str] = []
    page_token = ""
    while True:
        request = tenant_service_pb2.ListMyTenantsRequest(page_size=200, page_token=page_token)
        page = await person.call("identity", tenants.ListMyTenants, request)
        for one in page.tenants:
            if one.slug == slug:
                return one.tenant_id
            known.append(one.slug)
        page_token = page.next_page_token
        if not page_token:
            break
    raise MendableError(
        f"{person.address} is no member of a tenant {slug}.",
        f"name one of hers with --tenant: {', '.join(sorted(known)) or 'there is none'}.",
    )


async def _project_id(person: Person, key: str) -> str:
    projects = project_service_pb2_grpc.ProjectServiceStub(person.channels["issues"])
    try:
        found = await person.call("issues", projects.GetProject, project_service_pb2.GetProjectRequest(key=key))
    except NotFound:
        raise MendableError(f"There is no project {key}.", "make it first, or name another with --project.") from None
    return found.project_id


def _mend(error: DomainError) -> str:
    if error.reason_name == "ROLE_TOO_LOW":
        return "log in as an admin or owner of the tenant."
    return "run the same command again when that is settled; what went in is not imported twice."

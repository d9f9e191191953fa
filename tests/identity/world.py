"""What identity's tests need besides the house: its mails, its database by other roles, and people who can log in."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTPUTF8
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from bulkhead_identity.derived import DerivedTokens
from bulkhead_identity.mail.actions import Post, send_due
from bulkhead_identity.mail.folder import MailFolder
from bulkhead_identity.mail_ask.actions import RESET_PASSWORD, VERIFY_EMAIL, Answering, answer_asks
from bulkhead_kit.db import Database, PoolSettings
from bulkhead_kit.keyfiles import load_identity_secret
from bulkhead_kit.telemetry import MailMetrics
from prometheus_client import CollectorRegistry

from tests.support.callers import worker_caller
from tests.support.client import Client
from tests.support.house import House
from tests.support.people import Connection, set_context
from tests.support.postgres import ScratchDatabase

PASSWORD = "correct horse battery"
_token = re.compile(r"[?&]token=([\w-]{43})(?![\w-])")


@dataclass(frozen=True)
class Mail:
    to: str
    subject: str
    text: str
    html: str

    @property
    def token(self) -> str:
        found = _token.search(self.text)
        assert found is not None, self.text
        return found[1]


class PostOffice:
    """The worker's mails, sent when a test asks for them."""

    def __init__(self, house: House, folder: Path) -> None:
        self.folder = folder
        self.database = Database(
            house.database.dsn("bulkhead_identity_worker"),
            PoolSettings(min_size=1, max_size=4, wait=10.0),
            application="test_worker",
        )
        self.post = Post(
            database=self.database,
            derived=DerivedTokens(load_identity_secret(house.mint.keys)),
            outlet=MailFolder(folder, "Bulkhead <no-reply@bulkhead.invalid>"),
            web_address="http://localhost:8080",
            metrics=MailMetrics(CollectorRegistry()),
        )

        self.answering = Answering(
            database=self.database,
            derived=self.post.derived,
            lives={VERIFY_EMAIL: timedelta(hours=1), RESET_PASSWORD: timedelta(minutes=30)},
        )

    async def answer(self) -> None:
        """Mails that were asked for are queued."""
        await answer_asks(self.answering, worker_caller())

    async def to(self, address: str, turns: int | None = None) -> list[Mail]:
        """Every mail to the address so far, oldest first, after sending what is due, or so many turns' of it."""
        await self.answer()
        while turns != 0 and await send_due(self.post, worker_caller()):
            turns = turns - 1 if turns is not None else None
        return [mail for mail in read_folder(self.folder) if mail.to.lower() == address.lower()]


def read_folder(folder: Path) -> list[Mail]:
    """In the order they were queued in: a file has the name of its mail, whose id begins with the time."""
    return [read_mail(file) for file in sorted(folder.glob("*.eml"))]


def read_mail(file: Path) -> Mail:
    message = message_from_bytes(file.read_bytes(), policy=SMTPUTF8)
    assert isinstance(message, EmailMessage)
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert html is not None
    return Mail(str(message["To"]), str(message["Subject"]), plain.get_content(), html.get_content())


def new_address(name: str = "ann") -> str:
    return f"{name}-{secrets.token_hex(6)}@example.com"


async def sign_up(house: House, mails: PostOffice, email: str, password: str = PASSWORD, name: str = "Ann") -> str:
    """Signs up and proves the address; returns the user's id."""
    await house.nobody().identity.SignUp(email=email, password=password, full_name=name)
    token = (await mails.to(email))[-1].token
    reply = await house.nobody().identity.VerifyEmail(token=token, password=password)
    return str(reply.user_id)


async def log_in(house: House, email: str, password: str = PASSWORD) -> tuple[Client, Any]:
    reply = await house.nobody().identity.Login(email=email, password=password)
    return house.with_token(reply.access_token.token), reply


@asynccontextmanager
async def as_role(database: ScratchDatabase, login: str, /, **context: object) -> AsyncIterator[Connection]:
    """One transaction as a service's own role, with a context of the test's choosing."""
    async with (
        await psycopg.AsyncConnection.connect(database.dsn(login), autocommit=True) as connection,
        connection.transaction(),
    ):
        await set_context(connection, **context)
        yield connection


@asynccontextmanager
async def as_owner(database: ScratchDatabase) -> AsyncIterator[Connection]:
    """As the tables' owner, whose policies let her see and arrange every row; for what no RPC can bring about."""
    async with (
        await psycopg.AsyncConnection.connect(database.admin_dsn, autocommit=True) as connection,
        connection.transaction(),
    ):
        await connection.execute("set local role bulkhead_identity_owner")
        yield connection


async def events(database: ScratchDatabase, entity_id: UUID | str) -> list[tuple[str, str, dict[str, Any]]]:
    """What was captured of one entity: action, outcome and changes, oldest first."""
    async with as_role(database, "bulkhead_identity_relay") as connection:
        cursor = await connection.execute(
            "select action, outcome, changes from identity.outbox where entity_id = %s order by outbox_id", (entity_id,)
        )
        return await cursor.fetchall()


async def forget_failures(database: ScratchDatabase) -> None:
    """As if nobody had tried a wrong password."""
    async with as_owner(database) as connection:
        await connection.execute("update identity.login_throttles set failures = 0, retry_at = now()")


async def pass_time(database: ScratchDatabase, minutes: int) -> None:
    """As if mails had been asked for, and tokens made, so long ago."""
    async with as_owner(database) as connection:
        for statement in (
            "update identity.mail_asks set mailed_at = mailed_at - make_interval(mins => %s)",
            "update identity.one_time_tokens set expires_at = expires_at - make_interval(mins => %s)",
            "update identity.mail_limits set free_at = free_at - make_interval(mins => %s)",
        ):
            await connection.execute(statement, (minutes,))


async def set_plan(database: ScratchDatabase, tenant_id: UUID | str, *, users: int) -> None:
    async with as_owner(database) as connection:
        cursor = await connection.execute(
            "update identity.tenants set max_users_override = %s where tenant_id = %s", (users, tenant_id)
        )
        assert cursor.rowcount == 1


async def set_status(database: ScratchDatabase, tenant_id: UUID | str, status: str) -> None:
    async with as_owner(database) as connection:
        await connection.execute(
            """
            update identity.tenants set status = %(status)s,
                deleted_at = case when %(status)s = 'deleted' then now() end,
                purge_after = case when %(status)s = 'deleted' then now() + interval '30 days' end
            where tenant_id = %(tenant)s
            """,
            {"status": status, "tenant": tenant_id},
        )

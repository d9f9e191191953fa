"""The worker's mails: sent once, tried again, given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from bulkhead_identity.mail import rules
from bulkhead_identity.mail.actions import BATCH, Post, send_due
from bulkhead_identity.mail.folder import MailFolder
from bulkhead_identity.mail.rules import Letter, MailRow
from bulkhead_kit.ids import new_id

from tests.identity.world import (
    PASSWORD,
    PostOffice,
    as_owner,
    as_role,
    new_address,
    read_folder,
    read_mail,
)
from tests.support.callers import worker_caller
from tests.support.house import House


class Broken:
    """A mail server that is away."""

    def __init__(self) -> None:
        self.tried: list[str] = []

    def send(self, mail_id: str, _letter: Letter) -> None:
        self.tried.append(mail_id)
        raise ConnectionRefusedError("no mail server")


@pytest_asyncio.fixture(autouse=True)
async def empty_queue(house: House) -> AsyncIterator[None]:
    async with as_owner(house.database) as connection:
        await connection.execute(
            "update identity.mails set sent_at = now() where sent_at is null and failed_at is null"
        )
    yield


async def queue(house: House, many: int = 1) -> list[str]:
    addresses = [new_address() for _ in range(many)]
    async with as_role(house.database, "identity_app") as connection:
        for address in addresses:
            await connection.execute(
                "insert into identity.mails (mail_id, kind, to_address, subject_id)"
                " values (%s, 'verify_email', %s, %s)",
                (new_id(), address, new_id()),
            )
    return addresses


async def state(house: House, address: str) -> tuple[Any, ...]:
    async with as_role(house.database, "identity_worker") as connection:
        cursor = await connection.execute(
            "select attempts, sent_at is not null, failed_at is not null, last_error, due_at > now() + interval '5 s'"
            " from identity.mails where to_address = %s",
            (address,),
        )
        row = await cursor.fetchone()
    assert row is not None
    return tuple(row)


async def due_again(house: House) -> None:
    async with as_owner(house.database) as connection:
        await connection.execute("update identity.mails set due_at = now() where sent_at is null and failed_at is null")


async def test_is_sent_once_by_however_many_workers(house: House, mails: PostOffice) -> None:
    addresses = await queue(house, 3 * BATCH)
    assert sum(await asyncio.gather(*(send_due(mails.post, worker_caller()) for _ in range(6)))) == 3 * BATCH
    assert await send_due(mails.post, worker_caller()) == 0
    sent = [mail.to for mail in read_folder(mails.folder)]
    assert sorted(address for address in sent if address in addresses) == sorted(addresses)
    assert await state(house, addresses[0]) == (1, True, False, None, True)


async def test_a_failure_is_tried_again_later(house: House, mails: PostOffice) -> None:
    (address,) = await queue(house)
    broken = replace(mails.post, outlet=Broken())
    assert await send_due(broken, worker_caller()) == 1
    assert await state(house, address) == (1, False, False, "ConnectionRefusedError: no mail server", True)
    assert await send_due(mails.post, worker_caller()) == 0
    await due_again(house)
    assert await send_due(mails.post, worker_caller()) == 1
    assert await state(house, address) == (2, True, False, None, True)


async def test_a_hopeless_mail_is_given_up(house: House, mails: PostOffice) -> None:
    (address,) = await queue(house)
    outlet = Broken()
    broken = replace(mails.post, outlet=outlet)
    for _ in range(rules.MAX_ATTEMPTS + 3):
        await send_due(broken, worker_caller())
        await due_again(house)
    assert len(outlet.tried) == rules.MAX_ATTEMPTS
    assert (await state(house, address))[:3] == (rules.MAX_ATTEMPTS, False, True)


async def test_a_worker_that_dies_leaves_the_mail_to_others(house: House, mails: PostOffice) -> None:
    (address,) = await queue(house)

    class Killed(BaseException):
        """Nothing catches it, as nothing catches a kill."""

    class Dying:
        def send(self, _mail_id: str, _letter: Letter) -> None:
            raise Killed

    with pytest.raises(Killed):
        await send_due(replace(mails.post, outlet=Dying()), worker_caller())
    # Nobody's until the lease ends.
    assert await send_due(mails.post, worker_caller()) == 0
    await due_again(house)
    assert await send_due(mails.post, worker_caller()) == 1
    assert (await state(house, address))[:2] == (2, True)


async def test_a_mail_that_cannot_be_written_keeps_no_other_back(house: House, mails: PostOffice) -> None:
    poisoned, sound = await queue(house), await queue(house)
    async with as_owner(house.database) as connection:
        await connection.execute(
            "update identity.mails set kind = 'invitation', details = '{}' where to_address = %s", (poisoned[0],)
        )
    assert await send_due(mails.post, worker_caller()) == 2
    assert (await state(house, poisoned[0]))[:2] == (1, False)
    assert (await state(house, sound[0]))[:2] == (1, True)


async def test_a_retry_has_the_same_token(house: House, mails: PostOffice, tmp_path: Path) -> None:
    email = new_address()
    await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
    (first,) = await mails.to(email)
    async with as_owner(house.database) as connection:
        await connection.execute(
            "update identity.mails set sent_at = null, due_at = now() where to_address = %s", (email,)
        )
    again: Post = replace(mails.post, outlet=MailFolder(tmp_path, "x@example.com"))
    assert await send_due(again, worker_caller()) == 1
    assert [mail.token for mail in read_folder(tmp_path)] == [first.token]


class TestFolder:
    def test_writes_what_a_mail_program_reads(self, tmp_path: Path) -> None:
        letter = Letter(
            "zo\u00eb@b\u00fccher.example", "Hallo \U0001f98a", "Line 1\n" + "x" * 300 + "\n\u00fc \U0001f98a\n"
        )
        MailFolder(tmp_path / "new", "Bulkhead <no-reply@example.com>").send("some-id", letter)
        (file,) = (tmp_path / "new").iterdir()
        mail = read_mail(file)
        assert (mail.to, mail.subject) == (letter.to_address, letter.subject)
        assert mail.text.replace("\r\n", "\n") == letter.text
        assert ("x" * 300).encode() in file.read_bytes()

    @pytest.mark.parametrize("field", ["to_address", "subject"])
    def test_nobody_adds_a_header(self, tmp_path: Path, field: str) -> None:
        letter = replace(Letter("a@example.com", "Hello", "Text"), **{field: "a@example.com\r\nBcc: eve@example.com"})
        with pytest.raises(ValueError, match="linefeed"):
            MailFolder(tmp_path, "x@example.com").send("some-id", letter)
        assert not list(tmp_path.iterdir())


class TestRules:
    def test_pauses_grow_and_end(self) -> None:
        pauses = [rules.pause_after(attempts) for attempts in range(1, rules.MAX_ATTEMPTS + 1)]
        seconds = [pause.total_seconds() for pause in pauses[:-1] if pause is not None]
        assert seconds[:4] == [10, 20, 40, 80]
        assert seconds == sorted(seconds)
        assert max(seconds) == 3600
        assert pauses[-1] is None

    def test_what_the_kinds_say(self) -> None:
        mail = MailRow("m", "x", "a@example.com", "s", {"tenant_name": "Acme", "invited_by": "Eve"}, 1)
        assert "https://b.example/verify-email?token=T" in rules.verify_email(mail, "https://b.example", "T").text
        assert "https://b.example/accept-invitation?token=T" in rules.invitation(mail, "https://b.example", "T").text
        assert rules.invitation(mail, "", "T").subject == "Eve invites you to Acme"
        assert "token" not in rules.already_registered(mail, "https://b.example").text

"""The worker's mails: sent once, tried again, given up."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from bulkhead_identity.mail import rules
from bulkhead_identity.mail.actions import AT_ONCE, BATCH, LEASE, Post, send_due
from bulkhead_identity.mail.folder import MailFolder
from bulkhead_identity.mail.rules import SLOWEST_SECONDS, Letter, MailRefusedError
from bulkhead_kit.telemetry import MailMetrics
from bulkhead_kit.worker import TURN_SECONDS
from prometheus_client import CollectorRegistry

from tests.identity.mail.queue import due_again, empty, queue, state
from tests.identity.world import (
    PASSWORD,
    PostOffice,
    as_owner,
    new_address,
    read_folder,
    read_mail,
)
from tests.support.callers import worker_caller
from tests.support.house import House

OUTCOMES = ("sent", "put_off", "given_up")


class Broken:
    """A mail server that is away."""

    def __init__(self) -> None:
        self.tried: list[str] = []

    async def send(self, mail_id: str, _letter: Letter) -> None:
        self.tried.append(mail_id)
        raise ConnectionRefusedError("no mail server")


@pytest_asyncio.fixture(autouse=True)
async def empty_queue(house: House) -> AsyncIterator[None]:
    await empty(house)
    yield


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
        async def send(self, _mail_id: str, _letter: Letter) -> None:
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


async def test_a_refused_mail_is_given_up_at_once_with_the_reason(house: House, mails: PostOffice) -> None:
    class Refusing:
        async def send(self, _mail_id: str, _letter: Letter) -> None:
            raise MailRefusedError("SMTPRecipientRefused 550", "5.1.1 nobody of that name")

    (address,) = await queue(house)
    assert await send_due(replace(mails.post, outlet=Refusing()), worker_caller()) == 1
    reason = "SMTPRecipientRefused 550: 5.1.1 nobody of that name"
    assert (await state(house, address))[:4] == (1, False, True, reason)
    assert await send_due(mails.post, worker_caller()) == 0


async def test_every_outcome_is_counted(house: House, mails: PostOffice) -> None:
    registry = CollectorRegistry()
    post = replace(mails.post, metrics=MailMetrics(registry))
    await queue(house, 3)
    await send_due(post, worker_caller())
    await queue(house, 2)
    await send_due(replace(post, outlet=Broken()), worker_caller())
    async with as_owner(house.database) as connection:
        await connection.execute(
            "update identity.mails set attempts = %s, due_at = now() where sent_at is null and failed_at is null",
            (rules.MAX_ATTEMPTS - 1,),
        )
    await send_due(replace(post, outlet=Broken()), worker_caller())
    outcomes = {name: registry.get_sample_value("bulkhead_mails_total", {"outcome": name}) for name in OUTCOMES}
    assert outcomes == {"sent": 3, "put_off": 2, "given_up": 2}


def test_a_batch_is_settled_before_its_turn_and_its_lease_end() -> None:
    slowest = SLOWEST_SECONDS * BATCH / AT_ONCE
    assert slowest < min(TURN_SECONDS, LEASE.total_seconds())


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


class TestFolder:
    async def test_writes_what_a_mail_program_reads(self, tmp_path: Path) -> None:
        letter = Letter(
            "zo\u00eb@b\u00fccher.example",
            "Hallo \U0001f98a",
            "Line 1\n" + "x" * 300 + "\n\u00fc \U0001f98a\n",
            "<p>\u00fc</p>\n",
        )
        await MailFolder(tmp_path / "new", "Bulkhead <no-reply@example.com>").send("some-id", letter)
        (file,) = (tmp_path / "new").iterdir()
        mail = read_mail(file)
        assert (mail.to, mail.subject) == (letter.to_address, letter.subject)
        assert mail.text.replace("\r\n", "\n") == letter.text
        assert mail.html.replace("\r\n", "\n") == letter.html
        assert ("x" * 300).encode() in file.read_bytes()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

    @pytest.mark.parametrize("field", ["to_address", "subject"])
    async def test_nobody_adds_a_header(self, tmp_path: Path, field: str) -> None:
        letter = replace(
            Letter("a@example.com", "Hello", "Text", "<p>"), **{field: "a@example.com\r\nBcc: eve@example.com"}
        )
        with pytest.raises(ValueError, match=r"linefeed|not an e-mail address"):
            await MailFolder(tmp_path, "x@example.com").send("some-id", letter)
        assert not left_in(tmp_path)

    @pytest.mark.parametrize("address", ["a@example.com, eve@example.com", "a@example.com>, <eve@example.com", "Eve"])
    async def test_nobody_adds_a_reader(self, tmp_path: Path, address: str) -> None:
        with pytest.raises(ValueError, match="not an e-mail address"):
            await MailFolder(tmp_path, "x@example.com").send("some-id", Letter(address, "Hello", "Text", "<p>"))
        assert not left_in(tmp_path)


def test_pauses_grow_and_end() -> None:
    pauses = [rules.pause_after(attempts) for attempts in range(1, rules.MAX_ATTEMPTS + 1)]
    seconds = [pause.total_seconds() for pause in pauses[:-1] if pause is not None]
    assert seconds[:4] == [10, 20, 40, 80]
    assert seconds == sorted(seconds)
    assert max(seconds) == 3600
    assert pauses[-1] is None

"""Whose mail goes next: nobody waits for a thousand of somebody else's, and no reset for any invitation."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio
from bulkhead_identity.mail.actions import BATCH, send_due
from bulkhead_identity.mail.rules import Letter, Turns
from bulkhead_kit.ids import new_id

from tests.identity.mail.queue import due_again, empty
from tests.identity.world import PASSWORD, PostOffice, as_owner, as_role, log_in, new_address, sign_up
from tests.support.callers import worker_caller
from tests.support.house import House

MANY = 1_000
_CONTEXT = "select set_config('app.user_id', %s, true), set_config('app.ip', %s, true)"
_QUEUE = """
insert into identity.mails (mail_id, kind, to_address, subject_id, details)
select gen_random_uuid(), %s, %s || n || '@example.com', gen_random_uuid(),
    '{"tenant_name": "Acme", "invited_by": "Eve", "ip": "192.0.2.1", "user_agent": "x"}'
from generate_series(1, %s) as n
"""


class Noting:
    """An outlet that keeps who was written to, in order."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, _mail_id: str, letter: Letter) -> None:
        self.sent.append(letter.to_address)

    def names(self) -> list[str]:
        return [address.partition("-")[0] + "-" for address in self.sent]


@pytest_asyncio.fixture(autouse=True)
async def empty_queue(house: House) -> AsyncIterator[None]:
    await empty(house)
    yield
    await empty(house)


async def queue(
    house: House, name: str, many: int = 1, *, kind: str = "invitation", user: UUID | None = None, ip: str = ""
) -> None:
    async with as_owner(house.database) as connection:
        await connection.execute(_CONTEXT, (str(user or ""), ip))
        await connection.execute(_QUEUE, (kind, f"{name}-", many))


async def turns(house: House) -> dict[str, str]:
    """Whose turn each open mail is sent in, by address."""
    async with as_role(house.database, "bulkhead_identity_worker") as connection:
        cursor = await connection.execute(
            "select to_address, encode(cause, 'hex') from identity.mails where sent_at is null and failed_at is null"
        )
        return dict(await cursor.fetchall())


class TestOrder:
    async def test_a_thousand_of_one_delay_nobody_else(self, house: House, mails: PostOffice) -> None:
        outlet, loud = Noting(), new_id()
        await queue(house, "loud", MANY, user=loud)
        await queue(house, "quiet", 2, user=new_id())
        for _ in range(2):
            await send_due(replace(mails.post, outlet=outlet), worker_caller())
        assert Counter(outlet.names()) == {"loud-": 2 * BATCH - 2, "quiet-": 2}

    async def test_causes_take_turns_however_many_workers(self, house: House, mails: PostOffice) -> None:
        people, outlet = [new_id() for _ in range(7)], Noting()
        for number, person in enumerate(people):
            await queue(house, f"{'abdfghi'[number]}", 60, user=person)
        posts = [replace(mails.post, outlet=outlet, turns=Turns()) for _ in range(3)]
        for _ in range(7):
            await asyncio.gather(*(send_due(post, worker_caller()) for post in posts))
        counts = Counter(outlet.names())
        assert sum(counts.values()) == 210
        # Each worker begins somewhere, and then favours nobody by more than its last round.
        assert max(counts.values()) - min(counts.values()) <= len(posts)

    async def test_one_alone_has_all_the_places(self, house: House, mails: PostOffice) -> None:
        await queue(house, "alone", 25, user=new_id())
        post = replace(mails.post, outlet=Noting())
        assert [await send_due(post, worker_caller()) for _ in range(4)] == [10, 10, 5, 0]

    async def test_a_reset_goes_before_every_invitation(self, house: House, mails: PostOffice) -> None:
        email = new_address()
        await sign_up(house, mails, email)
        for number in range(20):
            await queue(house, f"loud{number}", 50, user=new_id())
        await house.nobody().identity.RequestPasswordReset(email=email)
        assert "Choose a new password" in [mail.subject for mail in await mails.to(email, turns=1)]

    async def test_urgent_ones_without_end_leave_places(self, house: House, mails: PostOffice) -> None:
        outlet = Noting()
        for number in range(30):
            await queue(house, "urgent", 1, kind="password_changed", ip=f"192.0.2.{number}")
        await queue(house, "guest", 2, user=new_id())
        assert await send_due(replace(mails.post, outlet=outlet), worker_caller()) == BATCH
        assert outlet.names() == ["urgent-"] * 8 + ["guest-"] * 2

    async def test_what_was_put_off_has_its_turn_again(self, house: House, mails: PostOffice) -> None:
        class Away:
            async def send(self, _mail_id: str, _letter: Letter) -> None:
                raise ConnectionRefusedError

        outlet = Noting()
        await queue(house, "late", 3, user=new_id())
        assert await send_due(replace(mails.post, outlet=Away()), worker_caller()) == 3
        assert await send_due(replace(mails.post, outlet=outlet), worker_caller()) == 0
        await due_again(house)
        assert await send_due(replace(mails.post, outlet=outlet), worker_caller()) == 3


class TestCause:
    async def test_is_who_acts_then_the_address_then_the_recipient(self, house: House) -> None:
        person, other = new_id(), new_id()
        await queue(house, "a", 2, user=person, ip="192.0.2.1")
        await queue(house, "b", 1, user=other, ip="192.0.2.1")
        await queue(house, "c", 2, ip="192.0.2.1")
        await queue(house, "d", 1, ip="2001:db8::1")
        await queue(house, "e", 1, ip="2001:db8::ffff")
        await queue(house, "f", 2)
        found = await turns(house)
        of = [found[f"{name}-1@example.com"] for name in "abcdf"] + [found["f-2@example.com"]]
        assert len(set(of)) == 6
        assert found["a-1@example.com"] == found["a-2@example.com"]
        assert found["c-1@example.com"] == found["c-2@example.com"]
        # One who has an address of IPv6 has 2^64 of them.
        assert found["d-1@example.com"] == found["e-1@example.com"]

    async def test_who_asks_for_many_resets_has_one_turn(self, house: House, mails: PostOffice) -> None:
        emails = [new_address() for _ in range(3)]
        for email in emails:
            await sign_up(house, mails, email)
        for email in emails:
            await house.nobody().identity.RequestPasswordReset(email=email)
        await mails.answer()
        found = await turns(house)
        assert set(found) == set(emails)
        assert len(set(found.values())) == 1

    async def test_nobody_chooses_it(self, house: House) -> None:
        async with as_owner(house.database) as connection:
            await connection.execute(
                "insert into identity.mails (mail_id, kind, to_address, subject_id, cause, is_urgent) values"
                " (gen_random_uuid(), 'invitation', 'x@example.com', gen_random_uuid(), '\\x00', true)"
            )
        assert len((await turns(house))["x@example.com"]) == 32
        async with as_role(house.database, "bulkhead_identity_worker") as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute("update identity.mails set cause = '\\x00'")

    async def test_nothing_of_it_is_kept(self, house: House, mails: PostOffice) -> None:
        """A hash of an address can be guessed."""
        await queue(house, "kept", 1)
        await send_due(replace(mails.post, outlet=Noting()), worker_caller())
        async with as_owner(house.database) as connection:
            cursor = await connection.execute(
                "select cause, is_due, sent_at is null from identity.mails where to_address = 'kept-1@example.com'"
            )
            assert await cursor.fetchall() == [(None, False, False)]

    async def test_a_closed_account_leaves_none(self, house: House, mails: PostOffice) -> None:
        email = new_address()
        await sign_up(house, mails, email)
        client, _ = await log_in(house, email)
        await house.nobody().identity.RequestPasswordReset(email=email)
        await mails.answer()
        waiting = (await turns(house))[email]
        await client.identity.CloseAccount(password=PASSWORD)
        left = await turns(house)
        assert waiting not in left.values()
        # The mail that tells of it still has to go.
        assert list(left) == [email]
        await mails.to(email)
        assert not await turns(house)


@pytest.mark.parametrize("asleep", [False, True], ids=["all due", "all put off"])
@pytest.mark.parametrize("many", [10_000, pytest.param(100_000, marks=pytest.mark.soak)])
async def test_a_claim_reads_a_handful_of_rows(house: House, many: int, *, asleep: bool) -> None:
    await queue(house, "loud", many, user=new_id())
    if asleep:
        async with as_owner(house.database) as connection:
            await connection.execute("update identity.mails set due_at = now() + interval '1 hour' where is_due")
    with psycopg.connect(house.database.admin_dsn, autocommit=True) as admin:
        # What other tests left is not read, too.
        admin.execute("vacuum (analyze) identity.mails")
    await queue(house, "quiet", 1, user=new_id())
    async with as_role(house.database, "bulkhead_identity_worker") as connection:
        cursor = await connection.execute(
            "select to_address from identity.claim_mails(%s, now() + interval '1 minute', '', '')", (BATCH,)
        )
        claimed = [address for (address,) in await cursor.fetchall()]
        cursor = await connection.execute(
            "select coalesce(seq_tup_read, 0) + idx_tup_fetch from pg_stat_xact_user_tables"
            " where relid = 'identity.mails'::regclass"
        )
        (read,) = await cursor.fetchone() or (0,)
    print(f"of {many} open mails of one cause, {'put off' if asleep else 'due'}, a claim reads {read}")
    assert "quiet-1@example.com" in claimed
    assert len(claimed) == (1 if asleep else BATCH)
    assert 0 < read < 20 * BATCH

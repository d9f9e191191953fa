"""Mails through a real mail server, which falls, comes back, refuses, and forgets to answer."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTPUTF8
from pathlib import Path

import pytest
from bulkhead_identity.mail.actions import AT_ONCE, send_due
from bulkhead_identity.mail.folder import MailFolder
from bulkhead_identity.mail.outlet import outlet_of
from bulkhead_identity.mail.rules import SLOWEST_SECONDS, Letter, MailPutOffError, MailRefusedError
from bulkhead_identity.mail.smtp import SmtpOutlet
from bulkhead_identity.settings import IdentitySettings
from bulkhead_kit import clock
from bulkhead_kit.settings import SettingsError, inherited_environment
from bulkhead_kit.tls import TlsFiles

from tests.identity.mail import smtp_program
from tests.identity.mail.queue import due_again, empty, queue, state
from tests.identity.world import PASSWORD, PostOffice, log_in, new_address, read_mail
from tests.support.callers import worker_caller
from tests.support.certificates import Authority
from tests.support.client import refused
from tests.support.house import House

Load = Callable[..., IdentitySettings]
SENDER = "Bulkhead <no-reply@bulkhead.example>"


@dataclass
class MailServer:
    folder: Path
    files: TlsFiles
    mode: str = "starttls"
    port: int = 0
    process: subprocess.Popen[str] = field(init=False)

    def start(self) -> None:
        """On the port that it had before."""
        self.folder.mkdir(exist_ok=True)
        words = [self.folder, self.port, self.mode, self.files.certificate, self.files.key]
        self.process = subprocess.Popen(
            [sys.executable, "-m", smtp_program.__name__, *map(str, words)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def files_taken(self) -> list[Path]:
        return sorted(self.folder.glob("*.eml"))

    def has_taken_for(self, name: str) -> bool:
        return any(str(message["X-To"]).startswith(name) for message in self.taken)

    @property
    def taken(self) -> list[EmailMessage]:
        messages = [message_from_bytes(file.read_bytes(), policy=SMTPUTF8) for file in self.files_taken]
        return [message for message in messages if isinstance(message, EmailMessage)]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=["starttls"])
def server(request: pytest.FixtureRequest, tmp_path: Path, authority: Authority) -> Iterator[MailServer]:
    made = MailServer(tmp_path / "taken", authority.issue("mail"), request.param)
    made.start()
    yield made
    if made.process.poll() is None:
        made.kill()


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    def load(**variables: object) -> IdentitySettings:
        for name, value in {"KEYS_DIR": "keys", "MAIL_FROM": SENDER, **variables}.items():
            monkeypatch.setenv(f"BULKHEAD_IDENTITY_{name}", str(value))
        return IdentitySettings.load()

    return load


def told(server: MailServer, **more: object) -> dict[str, object]:
    protected = {
        "MAIL_SMTP_CA": server.files.ca,
        "MAIL_SMTP_USER": smtp_program.USER,
        "MAIL_SMTP_PASSWORD": smtp_program.PASSWORD,
    }
    common = {"MAIL_SMTP_HOST": "localhost", "MAIL_SMTP_PORT": server.port, "MAIL_SMTP_TLS": server.mode}
    return common | (protected if server.mode != "none" else {}) | more


@pytest.fixture
def outlet(server: MailServer, load: Load) -> SmtpOutlet:
    made = outlet_of(load(**told(server)))
    assert isinstance(made, SmtpOutlet)
    return made


def letter(to: str = "ann@example.com") -> Letter:
    return Letter(
        to, "Hallo \U0001f98a", "Zeile \u00fc\n\nhttps://b.example/x?token=" + "y" * 120 + "\n", "<p>\u00fc</p>\n"
    )


@pytest.mark.parametrize("server", ["starttls", "tls", "none"], indirect=True)
async def test_a_mail_arrives_whole(server: MailServer, outlet: SmtpOutlet) -> None:
    await outlet.send("some-id", letter())
    (message,) = server.taken
    assert message["X-Tls"] == ("no" if server.mode == "none" else "yes")
    assert (message["X-From"], message["X-To"]) == ("no-reply@bulkhead.example", "ann@example.com")
    # Not this machine's name.
    assert message["X-Hello"] == "bulkhead.example"
    assert (message["From"], message["Message-ID"]) == (SENDER, "<some-id@bulkhead.example>")
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime is not None
    mail = read_mail(server.files_taken[0])
    assert (mail.to, mail.subject) == ("ann@example.com", letter().subject)
    assert mail.text.replace("\r\n", "\n") == letter().text
    assert mail.html.replace("\r\n", "\n") == letter().html
    # Any server on the way takes it: short lines in ASCII.
    lines = server.files_taken[0].read_bytes().splitlines()
    assert all(len(line) <= 78 and line.isascii() for line in lines)


async def test_addresses_beyond_ascii(server: MailServer, outlet: SmtpOutlet) -> None:
    await outlet.send("a", letter("ann@b\u00fccher.example"))
    await outlet.send("b", letter("zo\u00eb@b\u00fccher.example"))
    first, second = (str(message["X-To"]) for message in server.taken)
    # The first needs nothing of the server; the second cannot be said in ASCII.
    assert first == "ann@xn--bcher-kva.example"
    assert second == "zo\u00eb@b\u00fccher.example"


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("unknown", "SMTPRecipientRefused 550: 5.1.1 nobody of that name"),
        ("spam", "SMTPDataError 554: 5.6.0 we do not want this"),
    ],
)
async def test_what_will_never_be_taken_is_refused(outlet: SmtpOutlet, name: str, answer: str) -> None:
    with pytest.raises(MailRefusedError) as error:
        await outlet.send("some-id", letter(f"{name}-ann@example.com"))
    assert str(error.value) == answer
    # What may be logged names nobody.
    assert error.value.what == answer.partition(":")[0]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("full", "SMTPRecipientRefused 452: 4.2.2 mailbox full"),
        ("relay", "SMTPRecipientRefused 550: 5.7.1 relaying denied"),
        ("busy", "SMTPDataError 451: 4.3.0 try later"),
    ],
)
async def test_what_may_be_mended_is_put_off(outlet: SmtpOutlet, name: str, answer: str) -> None:
    with pytest.raises(MailPutOffError) as error:
        await outlet.send("some-id", letter(f"{name}-ann@example.com"))
    assert str(error.value) == answer


async def test_a_server_that_says_nothing_is_left(server: MailServer, load: Load) -> None:
    outlet = outlet_of(load(**told(server, MAIL_TIMEOUT_SECONDS=1)))
    started = clock.monotonic()
    with pytest.raises(MailPutOffError, match="no answer within 1 s"):
        await outlet.send("some-id", letter(f"{smtp_program.HANGING}-ann@example.com"))
    assert clock.monotonic() - started < 3


class TestProtection:
    async def test_a_certificate_of_a_stranger_is_not_believed(
        self, server: MailServer, load: Load, tmp_path: Path
    ) -> None:
        stranger = tmp_path / "stranger"
        stranger.mkdir()
        outlet = outlet_of(load(**told(server, MAIL_SMTP_CA=Authority(stranger).path)))
        with pytest.raises(MailPutOffError, match="certificate verify failed"):
            await outlet.send("some-id", letter())
        assert not server.taken

    @pytest.mark.parametrize("server", ["none"], indirect=True)
    async def test_without_starttls_there_is_no_mail(self, server: MailServer, load: Load) -> None:
        outlet = outlet_of(load(**told(server, MAIL_SMTP_TLS="starttls")))
        with pytest.raises(MailPutOffError, match="STARTTLS"):
            await outlet.send("some-id", letter())
        assert not server.taken

    async def test_a_wrong_password_loses_no_mail(self, server: MailServer, load: Load) -> None:
        outlet = outlet_of(load(**told(server, MAIL_SMTP_PASSWORD="wrong")))
        with pytest.raises(MailPutOffError, match="SMTPAuthenticationError 535"):
            await outlet.send("some-id", letter())


class TestSettings:
    def test_without_a_server_mails_are_files(self, load: Load) -> None:
        assert isinstance(outlet_of(load()), MailFolder)

    @pytest.mark.parametrize(
        ("variables", "complaint"),
        [
            ({"MAIL_SMTP_USER": "x"}, "MAIL_SMTP_USER and .*MAIL_SMTP_PASSWORD belong together"),
            ({"MAIL_SMTP_TLS": "none", "ENVIRONMENT": "production"}, "MAIL_SMTP_TLS=none would show"),
            (
                {"MAIL_SMTP_TLS": "none", "MAIL_SMTP_USER": "x", "MAIL_SMTP_PASSWORD": "hush"},
                "MAIL_SMTP_TLS=none would show",
            ),
            ({"MAIL_SMTP_TLS": "maybe"}, "MAIL_SMTP_TLS"),
            ({"MAIL_SMTP_CA": "no/such/file"}, "MAIL_SMTP_CA cannot be read"),
            ({"MAIL_TIMEOUT_SECONDS": SLOWEST_SECONDS + 1}, "MAIL_TIMEOUT_SECONDS"),
            ({"MAIL_FROM": "nobody"}, "MAIL_FROM.*one address in ASCII"),
            ({"MAIL_FROM": "a@example.com, b@example.com"}, "MAIL_FROM.*one address in ASCII"),
        ],
    )
    def test_what_is_wrong_is_said_at_the_start(self, load: Load, variables: dict[str, object], complaint: str) -> None:
        with pytest.raises(SettingsError, match=complaint) as error:
            outlet_of(load(MAIL_SMTP_HOST="mail.example.com", **variables))
        assert "hush" not in str(error.value)

    def test_a_relay_on_this_host_needs_no_tls(self, load: Load) -> None:
        settings = load(MAIL_SMTP_HOST="127.0.0.1", MAIL_SMTP_TLS="none", ENVIRONMENT="production")
        assert isinstance(outlet_of(settings), SmtpOutlet)


async def test_the_link_of_a_delivered_mail_works_once(
    house: House, mails: PostOffice, server: MailServer, outlet: SmtpOutlet
) -> None:
    await empty(house)
    email = new_address()
    await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
    assert await send_due(replace(mails.post, outlet=outlet), worker_caller()) == 1
    (file,) = server.files_taken
    mail = read_mail(file)
    assert mail.to == email
    assert mail.token in mail.html
    await house.nobody().identity.VerifyEmail(token=mail.token, password=PASSWORD)
    await log_in(house, email)
    with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
        await house.nobody().identity.VerifyEmail(token=mail.token, password=PASSWORD)


async def test_nothing_is_lost_when_the_server_falls_in_the_middle(
    house: House, mails: PostOffice, server: MailServer, outlet: SmtpOutlet
) -> None:
    """Doubled is only what the server had taken when it was killed before it said so: one mail, known by its id."""
    await empty(house)
    addresses = [*await queue(house, 12), *await queue(house, 1, smtp_program.LATE), *await queue(house, 30)]
    post = replace(mails.post, outlet=outlet)

    async def fall() -> None:
        async with asyncio.timeout(20):
            while not server.has_taken_for(smtp_program.LATE):  # noqa: ASYNC110 - a folder tells nobody
                await asyncio.sleep(0.02)
        server.kill()

    async def work() -> None:
        while await send_due(post, worker_caller()):
            pass

    await asyncio.gather(fall(), work())
    before = len(server.taken)
    # Mails of several causes go in turns: the one whose answer never comes may be the last.
    assert 1 <= before <= len(addresses)
    settled = [await state(house, address) for address in addresses]
    assert sum(is_sent for _, is_sent, *_ in settled) == before - 1
    assert not any(is_given_up for _, _, is_given_up, *_ in settled)
    server.start()
    await due_again(house)
    await work()
    assert all([(await state(house, address))[1] for address in addresses])
    ids = Counter(str(message["Message-ID"]) for message in server.taken)
    assert len(ids) == len(addresses)
    doubled = [str(message["X-To"]) for message in server.taken if ids[str(message["Message-ID"])] > 1]
    assert len(doubled) == 2
    assert doubled[0].startswith(smtp_program.LATE)
    print(f"{len(addresses)} mails, killed after {before}: {len(ids)} arrived, {len(doubled) - 1} of them twice")


class Worker:
    """`python -m bulkhead_identity work`, as an operator starts it."""

    def __init__(self, house: House, server: MailServer) -> None:
        own = {
            "WORKER_DATABASE_URL": house.database.dsn("bulkhead_identity_worker"),
            "KEYS_DIR": house.mint.keys,
            "MAIL_FROM": SENDER,
            "MAILS_EVERY_SECONDS": 0.1,
            "LOG_LEVEL": "error",
        }
        environment = {f"BULKHEAD_IDENTITY_{name}": str(value) for name, value in (own | told(server)).items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bulkhead_identity", "work"], env=inherited_environment() | environment
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


async def until(thing: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not thing():  # noqa: ASYNC110 - another process's doing
            await asyncio.sleep(0.02)


async def test_a_worker_killed_in_the_middle_loses_nothing(house: House, server: MailServer) -> None:
    """Killed once the server has a mail and has not said so: that one comes twice, and is one mail to who gets it."""
    await empty(house)
    addresses = [*await queue(house, 25), *await queue(house, 1, smtp_program.LATE), *await queue(house, 10)]
    first = Worker(house, server)
    try:
        await until(lambda: server.has_taken_for(smtp_program.LATE))
    finally:
        first.kill()
    before = len(server.taken)
    # Otherwise nobody would touch what the first had claimed until its lease ends.
    await due_again(house)
    second = Worker(house, server)
    try:
        await until(lambda: {str(message["X-To"]) for message in server.taken} == set(addresses))
        async with asyncio.timeout(30):
            while not all([(await state(house, address))[1] for address in addresses]):  # noqa: ASYNC110 - a worker's doing
                await asyncio.sleep(0.1)
    finally:
        second.kill()
    ids = Counter(str(message["Message-ID"]) for message in server.taken)
    assert len(ids) == len(addresses)
    # No more than what the first had under way.
    twice = len(server.taken) - len(ids)
    assert 1 <= twice <= AT_ONCE
    assert not [count for count in ids.values() if count > 2]
    print(f"{len(addresses)} mails, worker killed after {before}: {len(ids)} arrived, {twice} of them twice")

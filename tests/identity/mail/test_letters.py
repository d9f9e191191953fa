"""What the mails say, and that nothing a stranger wrote says more than it should."""

from __future__ import annotations

from html.parser import HTMLParser
from uuid import UUID

import psycopg
import pytest
from bulkhead_identity.derived import DerivedTokens
from bulkhead_identity.lookalikes import reads_like_support
from bulkhead_identity.mail import rendering
from bulkhead_identity.mail.letters import letter
from bulkhead_identity.mail.rules import Letter, MailRow
from bulkhead_kit.ids import new_id

from tests.identity.test_texts import IMITATIONS
from tests.support.house import House

DERIVED = DerivedTokens(b"x" * 32)
WEB = "https://b.example"
SUBJECT = "01890000-0000-7000-8000-000000000001"
MINUTE = 60_000_000
ONE_TIME = DERIVED.one_time(UUID(SUBJECT))
INVITED = {"tenant_name": "Acme", "invited_by": "Eve"}


def written(kind: str, **details: str) -> Letter:
    return letter(MailRow("m", kind, "a@example.com", SUBJECT, details, 61 * MINUTE, 1, True, b""), WEB, DERIVED)


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.words += data

    @property
    def links(self) -> list[str | None]:
        return [attributes["href"] for tag, attributes in self.tags if tag == "a"]


SAID = {
    "verify_email": ("Confirm your e-mail address", f"{WEB}/verify-email?token={ONE_TIME}"),
    "already_registered": ("You have an account already", f"{WEB}/login"),
    "invitation": ("Eve invites you to Acme", f"{WEB}/accept-invitation?token={DERIVED.invitation(UUID(SUBJECT))}"),
    "reset_password": ("Choose a new password", f"{WEB}/reset-password?token={ONE_TIME}"),
    "password_changed": ("Your password has been changed", f"{WEB}/forgot-password"),
    "new_device": ("Somebody logged in from a new device", f"{WEB}/forgot-password"),
    "account_closed": ("Your account is closed", None),
}


@pytest.mark.parametrize("kind", SAID)
def test_every_kind_says_the_same_in_text_and_html(kind: str) -> None:
    subject, link = SAID[kind]
    mail = written(kind, **INVITED)
    assert mail.subject == subject
    page = Page(mail.html)
    assert page.links == ([link] if link else [])
    assert [line for line in mail.text.splitlines() if WEB in line] == ([link] if link else [])
    seen = " ".join(page.words.split())
    for paragraph in mail.text.split("\n\n"):
        assert " ".join(paragraph.split()) in seen
    # Nothing is fetched when the mail is opened: no pictures, no styles or scripts from elsewhere.
    assert {tag for tag, _ in page.tags} <= {"html", "head", "meta", "title", "body", "div", "p", "a"}
    assert not any("src" in attributes for _, attributes in page.tags)


def test_time_and_place_are_told_where_they_are_known() -> None:
    bare = written("new_device")
    assert "on 1 January 2000, 01:01 UTC" in bare.text
    assert "It was done from" not in bare.text
    told = written("new_device", ip="203.0.113.9", user_agent="curl/8.9")
    assert "It was done from 203.0.113.9." in told.text
    assert "The program said it is: curl/8. 9" in told.text
    assert "It was asked for from 2001:db8::1." in written("reset_password", ip="2001:db8::1").text


@pytest.mark.parametrize("field", ["tenant_name", "invited_by"])
@pytest.mark.parametrize(
    "words",
    [
        "<script>alert(1)</script>",
        '"><img src=https://evil.example/x.png>',
        "https://evil.example/login",
        "Your account is blocked, see www.evil.example or evil.example",
        "eve@evil.example",
        "two\r\nBcc: eve@example.com",
        "$link",
        "${link}",
        "\u202egnidaerp\u202c \u2066x\u2069 zero\u200bwidth",
        "x" * 4000,
    ],
)
def test_a_strangers_words_are_words_only(field: str, words: str) -> None:
    mail = written("invitation", **{**INVITED, field: words})
    page, harmless = Page(mail.html), Page(written("invitation", **INVITED).html)
    assert page.tags == harmless.tags
    for text in (mail.subject, mail.text, page.words):
        assert "evil.example" not in text
        assert "https://evil" not in text
        assert not any(character in text for character in "\r\u202e\u2066\u200b")
        assert len(text) < 1500
    assert "\n" not in mail.subject
    assert sum(WEB in line for line in mail.text.splitlines()) == 1


def test_details_stand_for_neither_link_nor_time() -> None:
    assert written("reset_password", link="x", at="y", web="z") == written("reset_password")


def test_names_stay_as_they_are() -> None:
    for name in ("Acme Inc.", "M\u00fcller & S\u00f6hne", "A/B Testing: 50%", "O'Neil \U0001f98a", "St. Mary"):
        assert rendering.tame(name) == name


@pytest.mark.parametrize("details", [{}, {"tenant_name": "Acme"}, {"invited_by": "Eve"}])
def test_what_a_mail_cannot_do_without_is_demanded(details: dict[str, str]) -> None:
    with pytest.raises(LookupError):
        written("invitation", **details)


def test_every_kind_of_the_queue_has_a_text(house: House) -> None:
    with psycopg.connect(house.database.admin_dsn) as connection:
        row = connection.execute(
            "select pg_get_constraintdef(oid) from pg_constraint where conname = 'mails_kind_check'"
        ).fetchone()
        assert row is not None
        assert sorted(row[0].split("'")[1::2]) == sorted(rendering.KINDS) == sorted(SAID)
    with pytest.raises(LookupError, match="no mail of kind"):
        written(str(new_id()))


@pytest.mark.parametrize("field", ["invited_by", "tenant_name"])
@pytest.mark.parametrize("name", IMITATIONS)
def test_no_mail_says_that_it_is_from_support(field: str, name: str) -> None:
    made = written("invitation", **INVITED | {field: name})
    page = Page(made.html)
    for said in (made.subject, made.text, page.words):
        assert "Somebody" in said
        assert not reads_like_support(said.replace("Bulkhead and its support invite nobody", ""))
    assert page.links == [SAID["invitation"][1]]


def test_an_invitation_says_who_does_not_invite() -> None:
    made = written("invitation", **INVITED)
    sentence = "The sender is a member there. Bulkhead and its support invite nobody."
    assert sentence in made.text.split("\n\n")
    assert sentence in Page(made.html).words

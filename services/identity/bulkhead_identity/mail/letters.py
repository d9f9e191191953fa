"""What each kind of mail says in the one case at hand."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from bulkhead_kit import wire

from bulkhead_identity.derived import DerivedTokens
from bulkhead_identity.lookalikes import reads_like_support
from bulkhead_identity.mail.rendering import render, tame
from bulkhead_identity.mail.rules import Letter, MailRow

NAMELESS: Final = "Somebody"

# The details a kind may have besides what is told here; all of them come from people and are tamed.
#   invitation: tenant_name, invited_by (both must be there)
#   reset_password: ip · password_changed, new_device: ip, user_agent


def letter(mail: MailRow, web_address: str, derived: DerivedTokens) -> Letter:
    """Raises LookupError when the details lack something. No name that was given at a sign-up is in one: a stranger
    may have chosen it, and such a mail goes to whom she likes."""
    # First what strangers say, so that none of it can stand for the link or the time.
    values = {name: _own(tame(str(value))) for name, value in mail.details.items()}
    if "ip" in mail.details:
        # Not a stranger's words, and with a space in it nobody could look it up.
        values["ip"] = tame(str(mail.details["ip"])).replace(". ", ".")
    values |= {"link": web_address.rstrip("/") + _path(mail, derived), "at": _moment(mail.created_at)}
    made = render(mail.kind, values)
    return Letter(mail.to_address, made.subject, made.text, made.html)


def _own(words: str) -> str:
    """Names that read like support's have been refused since there is a rule for it; older ones are not repeated."""
    return NAMELESS if reads_like_support(words) else words


def _path(mail: MailRow, derived: DerivedTokens) -> str:
    subject = UUID(mail.subject_id)
    if mail.kind == "verify_email":
        return f"/verify-email?token={derived.one_time(subject)}"
    if mail.kind == "reset_password":
        return f"/reset-password?token={derived.one_time(subject)}"
    if mail.kind == "invitation":
        return f"/accept-invitation?token={derived.invitation(subject)}"
    if mail.kind in {"password_changed", "new_device"}:
        return "/forgot-password"
    return "/login"


def _moment(created_at: int) -> str:
    stamp = wire.timestamp(created_at)
    assert stamp is not None
    moment: datetime = wire.to_datetime(stamp)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"

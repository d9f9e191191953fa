"""What the identity service does by itself when it is due."""

from __future__ import annotations

from datetime import timedelta

from bulkhead_kit import working
from bulkhead_kit.keyfiles import load_identity_secret
from bulkhead_kit.parts import Parts
from bulkhead_kit.telemetry import MailMetrics
from bulkhead_kit.worker import Duty

from bulkhead_identity.derived import DerivedTokens
from bulkhead_identity.expiry.actions import expire
from bulkhead_identity.face.actions import show_faces
from bulkhead_identity.mail.actions import Post, send_due
from bulkhead_identity.mail.outlet import outlet_of
from bulkhead_identity.mail_ask.actions import RESET_PASSWORD, VERIFY_EMAIL, Answering, answer_asks
from bulkhead_identity.settings import IdentitySettings


def duties(parts: Parts) -> list[Duty]:
    settings = parts.settings
    assert isinstance(settings, IdentitySettings)
    post = Post(
        database=parts.database,
        derived=DerivedTokens(load_identity_secret(settings.keys_dir)),
        outlet=outlet_of(settings),
        web_address=settings.web_address,
        metrics=MailMetrics(),
    )
    answering = Answering(
        database=parts.database,
        derived=post.derived,
        lives={
            VERIFY_EMAIL: timedelta(hours=settings.verify_email_hours),
            RESET_PASSWORD: timedelta(minutes=settings.reset_password_minutes),
        },
    )
    return [
        Duty("asks", settings.asks_every_seconds, lambda caller: answer_asks(answering, caller)),
        Duty("mail", settings.mails_every_seconds, lambda caller: send_due(post, caller)),
        Duty("faces", settings.faces_every_seconds, lambda caller: show_faces(parts.database, caller)),
        Duty("expire", settings.expiry_every_seconds, lambda caller: expire(parts.database, caller)),
    ]


def work(settings: IdentitySettings) -> None:
    working.work(settings, duties)

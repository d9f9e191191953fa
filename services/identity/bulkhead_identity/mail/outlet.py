"""Which way the mails go, by the settings."""

from __future__ import annotations

import structlog
from bulkhead_kit.settings import SettingsError

from bulkhead_identity.mail.folder import MailFolder
from bulkhead_identity.mail.rules import Outlet
from bulkhead_identity.mail.smtp import MailServer, SmtpOutlet
from bulkhead_identity.settings import IdentitySettings

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.mail")

_THIS_HOST = frozenset({"localhost", "127.0.0.1", "::1"})


def outlet_of(settings: IdentitySettings) -> Outlet:
    if settings.mail_smtp_host is None:
        if settings.is_production:
            log.warning("mails_go_to_folder", folder=str(settings.mail_dir))
        return MailFolder(settings.mail_dir, settings.mail_from)
    server = _server(settings, settings.mail_smtp_host)
    try:
        return SmtpOutlet(server, settings.mail_from)
    except OSError as error:
        raise SettingsError(f"{settings.variable('mail_smtp_ca')} cannot be read: {error}") from None


def _server(settings: IdentitySettings, host: str) -> MailServer:
    password = settings.mail_smtp_password
    if (settings.mail_smtp_user is None) != (password is None):
        names = f"{settings.variable('mail_smtp_user')} and {settings.variable('mail_smtp_password')}"
        raise SettingsError(f"{names} belong together: set both or none")
    if settings.mail_smtp_tls == "none" and host not in _THIS_HOST and (settings.is_production or password):
        tls = settings.variable("mail_smtp_tls")
        raise SettingsError(f"{tls}=none would show mails and password to the network: use starttls or tls")
    return MailServer(
        host=host,
        port=settings.mail_smtp_port,
        tls=settings.mail_smtp_tls,
        ca=settings.mail_smtp_ca,
        user=settings.mail_smtp_user,
        password=password.get_secret_value() if password else None,
        seconds=settings.mail_timeout_seconds,
    )

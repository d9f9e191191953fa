"""The identity service's settings: BULKHEAD_IDENTITY_*."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from bulkhead_kit.rates.rate import ANY_METHOD, MINUTE, MethodRatesSetting, Rate
from bulkhead_kit.settings import Address, ServiceSettings
from pydantic import AfterValidator, Field, SecretStr

from bulkhead_identity.mail.message import address_of
from bulkhead_identity.mail.rules import SLOWEST_SECONDS


def _sender(text: str) -> str:
    address_of(text)
    return text


class IdentitySettings(ServiceSettings, service="identity"):
    listen: Address = Field("127.0.0.1:7101", description="Where the service answers.")

    rate_per_method: MethodRatesSetting = Field(
        # People behind one address share it, so these are for a large office; what protects one account is counted by
        # the account. A mail is asked for seldom.
        {
            "Login": Rate(60, MINUTE),
            "SignUp": Rate(60, MINUTE),
            "RefreshToken": Rate(600, MINUTE),
            "VerifyEmail": Rate(60, MINUTE),
            "LookupTenant": Rate(300, MINUTE),
            "GetJwks": Rate(600, MINUTE),
            # Each makes the processor work for a tenth of a second, whoever calls.
            "ChangePassword": Rate(10, MINUTE),
            "CloseAccount": Rate(10, MINUTE),
            ANY_METHOD: Rate(60, MINUTE),
        },
        description="Calls of public methods by an address, of others by a person; * is any other public method.",
    )

    platform_database_url: SecretStr | None = Field(
        None, description="PostgreSQL URL of bulkhead_platform_app; unset: this process has no PlatformService."
    )

    # Longer than five minutes and a verifier refuses the token.
    access_token_seconds: int = Field(300, ge=10, le=300, description="Life of an access token.")
    refresh_token_hours: float = Field(24.0, gt=0, description="Time after which a session that is not used ends.")
    refresh_grace_seconds: float = Field(30.0, ge=0, description="Time in which a lost refresh can be repeated.")
    session_days: float = Field(30.0, gt=0, description="Time after which any session ends.")
    verify_email_hours: float = Field(1.0, gt=0, description="Life of the token that proves an address.")
    reset_password_minutes: float = Field(30.0, gt=0, description="Life of the token that allows a new password.")
    device_days: float = Field(180.0, gt=0, description="How long a device is known after its last login.")
    invitation_days: float = Field(7.0, gt=0, description="Life of an invitation.")
    hash_threads: int = Field(2, ge=1, description="Passwords hashed at once; each takes 19 MiB.")
    hash_queue: int = Field(50, ge=0, description="Passwords that may wait to be hashed, and as many to be judged.")

    mail_smtp_host: str | None = Field(None, min_length=1, description="Mail server; unset: mails go to MAIL_DIR.")
    mail_smtp_port: int | None = Field(None, ge=1, le=65535, description="Unset: 587, with tls 465, with none 25.")
    mail_smtp_tls: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How that is protected; a server that does not offer it gets no mail."
    )
    mail_smtp_ca: Path | None = Field(
        None, description="PEM file the mail server's certificate is checked by; unset: the system's."
    )
    mail_smtp_user: str | None = Field(None, min_length=1, description="Login at the mail server.")
    mail_smtp_password: SecretStr | None = Field(None, description="Its password; both or none.")
    mail_timeout_seconds: float = Field(10.0, gt=0, le=SLOWEST_SECONDS, description="Time to hand one mail over.")
    mail_dir: Path = Field(Path(".run/mail"), description="Folder that mails are written to without a mail server.")
    mail_from: Annotated[str, AfterValidator(_sender)] = Field(
        "Bulkhead <no-reply@bulkhead.invalid>", description="Sender of the mails, with or without a name."
    )
    web_address: str = Field("http://localhost:8080", description="Where the links in mails lead.")
    mails_every_seconds: float = Field(1.0, gt=0, description="How often the worker looks for mails to send.")
    asks_every_seconds: float = Field(1.0, gt=0, description="How often the worker looks for mails asked for.")
    faces_every_seconds: float = Field(
        1.0, gt=0, description="How often the worker looks for new names to show in the many tenants of a person."
    )
    expiry_every_seconds: float = Field(60.0, gt=0, description="How often the worker removes what has expired.")

"""What the command itself is told: by options, else by BULKHEAD_... variables, else these defaults."""

from pathlib import Path
from typing import Literal

from bulkhead_kit.settings import Address, Settings
from pydantic import Field, SecretStr


class CliSettings(Settings):
    database_url: SecretStr | None = Field(
        None, description="An administrator's login on a running server; unset: PostgreSQL is started here."
    )
    state: Path = Field(Path(".run"), description="Where everything of this installation is kept.")
    environment: Literal["development", "production"] = Field("development", description="What the services are told.")
    postgres_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port of the PostgreSQL started here; unset: one that is free, the same each time.",
    )
    identity_listen: Address = Field("127.0.0.1:7101", description="Where `bulkhead up` has identity answer.")
    issues_listen: Address = Field("127.0.0.1:7102", description="The same for issues.")
    audit_listen: Address = Field("127.0.0.1:7103", description="The same for audit.")

    def listen(self, service: str) -> str:
        return str(getattr(self, f"{service}_listen"))

    @property
    def given_database(self) -> str | None:
        return self.database_url.get_secret_value() if self.database_url else None

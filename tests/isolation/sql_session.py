"""One login's connection, on which things are tried and undone."""

from __future__ import annotations

from types import TracebackType
from typing import Self
from uuid import UUID

import psycopg
from psycopg import sql

from tests.support.postgres import ScratchDatabase

Statement = sql.Composed | sql.SQL
DENIED = "42501"


class SqlSession:
    def __init__(self, dsn: str) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True)

    @classmethod
    def of(cls, database: ScratchDatabase, role: str) -> Self:
        return cls(database.dsn(role))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def attempt(
        self,
        statement: Statement,
        values: list[object] | dict[str, object] | None = None,
        *,
        tenant: UUID | None = None,
        level: int = 0,
        user: object = None,
    ) -> tuple[str, int]:
        """SQLSTATE, with the constraint if one is broken, and rows: counted, touched or returned. Always undone."""
        with self.connection.transaction(force_rollback=True):
            try:
                with self.connection.transaction():
                    self._set_context(tenant, level, user)
                    cursor = self.connection.execute(statement, values)
                    rows = cursor.rowcount
                    if cursor.description is not None:
                        (rows,) = cursor.fetchone() or (0,)
                    self.connection.execute("set constraints all immediate")
                    return "00000", int(rows)
            except psycopg.Error as error:
                return f"{error.sqlstate} {error.diag.constraint_name or ''}".strip(), 0

    def _set_context(self, tenant: UUID | None, level: int, user: object) -> None:
        # Audit takes events of a service's own things only, and those of the world are of issues.
        service = "issues" if self.connection.info.user == "bulkhead_audit_app" else None
        settings = {
            "app.tenant_id": tenant,
            "app.user_id": user,
            "app.role": level or None,
            "app.service": service,
            "app.writing": "true",
        }
        for name, value in settings.items():
            if value is not None:
                self.connection.execute("select set_config(%s, %s, true)", (name, str(value)))


def table(name: str) -> sql.Identifier:
    return sql.Identifier(*name.split("."))

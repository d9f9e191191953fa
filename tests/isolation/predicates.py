"""Every query says which tenant it means. Behind the wall that cannot be seen, so here the wall is taken down."""

from __future__ import annotations

import copy
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from bulkhead_kit.db.query import Query
from bulkhead_kit.db.session import Session
from psycopg import sql

_PREDICATE = re.compile(rb"[a-z_.]*tenant_id = (\$\d+::UUID)")
_numbers = itertools.count(1)


def take_the_wall_down(admin: psycopg.Connection) -> None:
    found = admin.execute(
        "select n.nspname, c.relname from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace"
        " inner join pg_policy as p on p.polrelid = c.oid and p.polname = 'tenant_wall'"
    ).fetchall()
    for schema, table in found:
        admin.execute(sql.SQL("alter table {} disable row level security").format(sql.Identifier(schema, table)))


class Watch:
    """Knows which queries each method sends, and can make one of them forget its tenant."""

    def __init__(self) -> None:
        self.used: dict[str, list[Query[Any]]] = defaultdict(list)
        self._method: str | None = None
        self._broken: tuple[Query[Any], Query[Any]] | None = None

    @contextmanager
    def method(self, name: str) -> Iterator[None]:
        self._method = name
        yield
        self._method = None

    @contextmanager
    def forgetful(self, query: Query[Any]) -> Iterator[None]:
        broken = copy.copy(query)
        broken.sql = _PREDICATE.sub(rb"\1 is not null", query.sql)
        broken.name = b"forgetful%d" % next(_numbers)
        self._broken = (query, broken)
        yield
        self._broken = None

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        add = Session.add

        def watched(session: Session, query: Query[Any], values: Any) -> None:
            if self._method is not None and query not in self.used[self._method]:
                self.used[self._method].append(query)
            if self._broken is not None and query is self._broken[0]:
                query = self._broken[1]
            add(session, query, values)

        monkeypatch.setattr(Session, "add", watched)

    def queries(self) -> list[tuple[Query[Any], list[str]]]:
        """Those that name a tenant, with the methods that send them."""
        found: dict[int, tuple[Query[Any], list[str]]] = {}
        for method, queries in self.used.items():
            for query in queries:
                if _PREDICATE.search(query.sql):
                    found.setdefault(id(query), (query, []))[1].append(method)
        return list(found.values())

"""What the database's errors mean to a caller."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import grpc
import psycopg
import structlog
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from prometheus_client import Counter

from bulkhead_kit import clock, errors
from bulkhead_kit.db.query import Query

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.db")

_BY_CODE: dict[int, type[errors.DomainError]] = {
    kind.code.value[0]: kind
    for kind in (
        errors.InvalidArgument,
        errors.AlreadyExists,
        errors.PermissionDenied,
        errors.ResourceExhausted,
        errors.FailedPrecondition,
        errors.Aborted,
        errors.Unavailable,
        errors.Unauthenticated,
    )
}
_INVALID_ARGUMENT: int = grpc.StatusCode.INVALID_ARGUMENT.value[0]
_NOT_FOUND: int = grpc.StatusCode.NOT_FOUND.value[0]
_NOT_STORABLE = ("23514", "22001", "22003", "22007", "22008", "22P02", "22P03")
"""A CHECK, and values too long, too large or of no form for their column."""
_UNAVAILABLE_CLASSES = ("08", "53", "57")
_READ_ONLY = "25006"
_WORDS = {
    _READ_ONLY: "the database takes no writes: it is a standby or set to read only",
    "53100": "the database's disk is full",
    "53200": "the database is out of memory",
    "53300": "the database has no connection left",
    "57P01": "the database is shutting down",
    "57P02": "the database has crashed and recovers",
    "57P03": "the database is starting or shutting down",
}
_SAY_AGAIN_SECONDS = 10.0
"""Until the log repeats that the database refuses for the same reason."""

_refused = Counter(
    "bulkhead_db_refused", "Statements that the database refused for its own state, by SQLSTATE.", ["sqlstate"]
)
_said: dict[str, float] = {}


def translate(error: psycopg.Error, queries: Iterable[Query[Any]]) -> Exception:
    """The DomainError an error stands for, or the error itself when it stands for a fault of ours.

    A deferred constraint fails at COMMIT, so the names are looked up in all queries of the transaction.
    """
    state = error.sqlstate
    if state is None:
        return unavailable()
    if state.startswith("BH0"):
        return _refusal(int(state[3:]), error)
    named = _named(error.diag.constraint_name, queries)
    if named is not None:
        return named
    return _general(state, error)


def unavailable(words: str = "the database cannot be reached") -> errors.Unavailable:
    return errors.Unavailable(ErrorReason.DATABASE_UNAVAILABLE, f"{words}; try again", retry_after=1.0)


def refused_by_state(state: str, error: psycopg.Error) -> errors.Unavailable:
    """The server answers and cannot do what is asked: the log names why, a few times a minute, and a counter."""
    _refused.labels(state).inc()
    words = _WORDS.get(state, "the database cannot work now")
    now = clock.monotonic()
    if now - _said.get(state, -_SAY_AGAIN_SECONDS) >= _SAY_AGAIN_SECONDS:
        _said[state] = now
        log.error("database_refuses", sqlstate=state, detail=words, message=error.diag.message_primary)
    return unavailable(words)


def _refusal(code: int, error: psycopg.Error) -> Exception:
    """What app.refuse() raised: reason as message, text as detail, metadata as hint."""
    metadata = {key: str(value) for key, value in json.loads(error.diag.message_hint or "{}").items()}
    if code == _NOT_FOUND:
        return errors.NotFound(metadata.get("resource", "resource"))
    wait = metadata.pop("retry_after", None)
    reason = error.diag.message_primary or ""
    text = error.diag.message_detail or ""
    # A refusal that is about a field names it in the metadata, and begins with it for people. Only of a request that is
    # wrong in itself it is a field of the request: what is taken already may be something the request does not name.
    violations = (
        [errors.FieldViolation(metadata["field"], text.removeprefix(f"{metadata['field']}: "))]
        if "field" in metadata and code == _INVALID_ARGUMENT
        else []
    )
    refusal = _BY_CODE[code](ErrorReason.Value(reason), text, metadata=metadata, violations=violations)
    refusal.retry_after = None if wait is None else float(wait)
    return refusal


def _named(constraint: str | None, queries: Iterable[Query[Any]]) -> errors.DomainError | None:
    if constraint is None:
        return None
    for query in queries:
        if constraint in query.refuse:
            return query.refuse[constraint]()
    return None


def _general(state: str, error: psycopg.Error) -> Exception:
    if state == "57014":
        return errors.DeadlineExceeded()
    if state in ("40001", "40P01", "55P03"):
        return errors.Aborted(ErrorReason.CONFLICT, "another call changed the same things first; try again")
    if state in ("0A000", "26000", "42P05"):
        # A migration changed what a prepared statement returns, or a pooler lent the server's connection to somebody
        # else: the next try prepares it anew.
        return unavailable()
    if state == "42501":
        return errors.PermissionDenied(ErrorReason.CALLER_NOT_ALLOWED, "the caller may not do this")
    if state == "23503":
        return errors.InvalidArgument(
            ErrorReason.REFERENCE_NOT_FOUND, "a thing that is referred to does not exist in this tenant"
        )
    if state == "23505":
        return errors.AlreadyExists(ErrorReason.ALREADY_TAKEN, "something else has this value already")
    if state in ("22021", "22P05"):
        return errors.InvalidArgument(ErrorReason.INVALID_FIELD, "the text has a character that cannot be stored")
    if state in _NOT_STORABLE:
        # A rule should have named the field before; that it did not is to be mended, but is no fault the caller sees.
        log.error("rule_is_missing", sqlstate=state, table=error.diag.table_name, constraint=error.diag.constraint_name)
        return errors.InvalidArgument(ErrorReason.INVALID_FIELD, "a value is outside of what can be stored")
    if state[:2] in _UNAVAILABLE_CLASSES or state == _READ_ONLY:
        return refused_by_state(state, error)
    return error

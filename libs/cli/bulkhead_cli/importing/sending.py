"""Sends an archive through ImportService, as fast as the service takes it, and says what became of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from bulkhead.issues.v1 import import_pb2, import_service_pb2
from bulkhead.issues.v1.import_service_pb2_grpc import ImportServiceStub
from google.protobuf import json_format
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bulkhead_cli.importing.archive import Archive
from bulkhead_cli.output import plain
from bulkhead_cli.person import Person

MAX_MESSAGE = 500_000
"""Bytes; the service takes 1 MB. One text of the greatest length fits beside."""
WITHIN = 3600.0

Request = import_service_pb2.ImportItemsRequest


@dataclass(frozen=True)
class Report:
    archive: Archive
    answer: import_service_pb2.ImportItemsResponse

    @property
    def failures(self) -> Sequence[import_pb2.ImportFailure]:
        return self.answer.failures

    @property
    def failed(self) -> int:
        return len(self.answer.failures) + self.answer.failures_left_out

    @property
    def changed(self) -> int:
        """Things made or brought to another state."""
        kinds = (self.answer.labels, self.answer.issues, self.answer.comments)
        return sum(counts.created + counts.updated for counts in kinds)

    def line(self) -> str:
        kinds = (("issues", self.answer.issues), ("comments", self.answer.comments), ("labels", self.answer.labels))
        said = [f"{c.created} {kind} made, {c.updated} updated, {c.unchanged} unchanged" for kind, c in kinds]
        ending = "; nothing was written" if self.answer.dry_run else ""
        return f"{'; '.join(said)}; {self.failed} left out; {self.archive.reviews} reviews not taken{ending}"

    def show(self, console: Console) -> None:
        title = "What would become of it" if self.answer.dry_run else "What became of it"
        table = Table("", "made", "updated", "unchanged", title=title, title_justify="left")
        kinds = (("labels", self.answer.labels), ("issues", self.answer.issues), ("comments", self.answer.comments))
        for kind, counts in kinds:
            table.add_row(kind, str(counts.created), str(counts.updated), str(counts.unchanged))
        console.print(table)
        console.print(f"{self.answer.authors} authors; {self.archive.reviews} reviews are not taken")
        show_repairs(self.archive, console)
        for failure in self.answer.failures:
            place = f"item {failure.position}, {failure.item}"
            console.print(f"[red]left out[/] {plain(place)}: {plain(failure.message)} ({plain(failure.reason)})")
        if self.answer.failures_left_out:
            console.print(f"and {self.answer.failures_left_out} more")

    def to_json(self) -> str:
        said = json_format.MessageToDict(
            self.answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        own = {"reviews_not_taken": self.archive.reviews, "repairs": self.archive.repairs.to_json()}
        return json.dumps({**said, **own}, indent=2)


def show_repairs(archive: Archive, console: Console) -> None:
    """What is sent otherwise than the file says it."""
    if not archive.repairs.numbers:
        return
    table = Table("", "how many", "where", title="What was changed to fit", title_justify="left")
    for what, number, where in archive.repairs.rows():
        table.add_row(what, str(number), plain(where))
    console.print(table)


async def send(
    person: Person, archive: Archive, project_id: str, *, console: Console | None = None, dry_run: bool = False
) -> Report:
    """Raises the DomainError that ended the import. Each item counts as sent when the service makes room for it."""
    await person.stay_logged_in()
    channel = person.channels["issues"]
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=console is None,
        transient=True,
    )
    with progress:
        task = progress.add_task("items sent", total=len(archive.labels) + len(archive.issues))

        async def stream() -> AsyncIterator[Request]:
            for request in requests(archive, project_id, dry_run=dry_run):
                yield request
                if request.HasField("label") or request.HasField("issue"):
                    progress.advance(task)

        stub = ImportServiceStub(channel)
        answer = await channel.upload(stub.ImportItems, stream(), caller=None, within=WITHIN)
    return Report(archive, answer)


def requests(archive: Archive, project_id: str, *, dry_run: bool = False) -> Iterator[Request]:
    yield Request(
        options=import_service_pb2.ImportOptions(project_id=project_id, source=archive.source, dry_run=dry_run)
    )
    for label in archive.labels:
        yield Request(label=label)
    for issue in archive.issues:
        yield from split(issue)


def split(issue: import_pb2.ImportIssue, most: int = MAX_MESSAGE) -> Iterator[Request]:
    """One message if it fits, else with as many comments in each as fit."""
    if issue.ByteSize() <= most:
        yield Request(issue=issue)
        return
    first = import_pb2.ImportIssue()
    first.CopyFrom(issue)
    first.ClearField("comments")
    chunks = list(_chunks(issue.comments, most - first.ByteSize(), most))
    first.comments.extend(chunks[0])
    first.more_comments_follow = len(chunks) > 1
    yield Request(issue=first)
    for place, chunk in enumerate(chunks[1:], start=2):
        more = import_pb2.ImportMoreComments(comments=chunk, more_comments_follow=place < len(chunks))
        yield Request(more_comments=more)


def _chunks(
    comments: Sequence[import_pb2.ImportComment], first: int, others: int
) -> Iterator[list[import_pb2.ImportComment]]:
    """At least one chunk; the first may be empty, the others hold at least one comment each."""
    chunk: list[import_pb2.ImportComment] = []
    room, is_first = first, True
    for comment in comments:
        size = comment.ByteSize() + 8
        if size > room and (chunk or is_first):
            yield chunk
            chunk, room, is_first = [], others, False
        chunk.append(comment)
        room -= size
    yield chunk

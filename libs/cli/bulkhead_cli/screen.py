"""What the command shows: to people in colour, to machines as JSON, and never a half of each."""

import json
import sys
import threading
from typing import Any

from rich.table import Table

from bulkhead_cli.brief import brief, hanging
from bulkhead_cli.endpoints import Endpoints
from bulkhead_cli.output import console, plain

COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "bright_cyan", "bright_magenta", "bright_yellow")
# Lines about the programs, as against lines of theirs.
OWN = {"up", "migrate", "postgres", "supervisor", "keys"}
NAME_WIDTH = 15
FINDING_WIDTH = 27
VERDICTS = {"ok": "[green]ok    [/]", "note": "[yellow]note  [/]", "broken": "[red]broken[/]"}


class Screen:
    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self._json = json
        self._quiet = quiet
        self._out = console(soft_wrap=True)
        # With --json stdout is the document's alone.
        self._lines = console(soft_wrap=True, stderr=json)
        self._seen: dict[str, str] = {}
        self._one_at_a_time = threading.Lock()

    def line(self, name: str, text: str) -> None:
        if (self._quiet or self._json) and name not in OWN:
            return
        if self._lines.is_terminal:
            text = hanging(text if name in OWN else brief(text), NAME_WIDTH + 1, self._lines.width)
        with self._one_at_a_time:
            colour = self._seen.setdefault(name, COLOURS[len(self._seen) % len(COLOURS)])
            self._lines.print(f"[{colour}]{name:<{NAME_WIDTH}}[/] {plain(text)}")

    def endpoints(self, endpoints: Endpoints) -> None:
        if self._json:
            self._document(endpoints.to_json())
            return
        table = Table("what", "where", show_header=False, title="bulkhead is up", title_justify="left")
        for service, address in endpoints.services.items():
            table.add_row(f"{service} (gRPC)", plain(address))
        table.add_row("PostgreSQL", plain(endpoints.database_place))
        table.add_row("mail", plain(endpoints.mail))
        table.add_row("logs", plain(endpoints.logs))
        table.add_row("logins, metrics", plain(endpoints.file))
        self._out.print(table)
        self._out.print("Ctrl-C stops everything; the data stays.")

    def findings(self, findings: list[dict[str, Any]]) -> None:
        if self._json:
            self._document(json.dumps(findings, indent=2))
            return
        for finding in findings:
            verdict = VERDICTS[finding["verdict"]]
            self._out.print(f"{verdict}  {finding['what']:<18} {plain(self._below(finding['detail']))}")
            if finding["mend"]:
                self._out.print(" " * FINDING_WIDTH + plain(self._below(f"to mend it: {finding['mend']}")))

    def _below(self, text: str) -> str:
        return hanging(text, FINDING_WIDTH, self._out.width) if self._out.is_terminal else text

    def error(self, what: str, mend: str) -> None:
        screen = console(stderr=True, soft_wrap=True)
        mend = f"To mend it: {mend}"
        if screen.is_terminal:
            mend = hanging(mend, 0, screen.width)
        screen.print(f"[red]{plain(what)}[/]\n{plain(mend)}")

    def _document(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

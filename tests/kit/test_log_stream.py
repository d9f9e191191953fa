"""Log lines that nobody takes: dropped and counted, and no writer waits for them."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bulkhead_kit.log_stream import BackgroundStream
from prometheus_client import CollectorRegistry

LINE = b"x" * 99 + b"\n"
TOLD = b"%d are missing\n"


class Pipe:
    """What a service writes into, with a reader that may sleep or leave."""

    def __init__(self, limit: int = 100_000) -> None:
        self.reading, writing = os.pipe()
        self.registry = CollectorRegistry()
        self.stream = BackgroundStream(writing, TOLD.__mod__, limit=limit, registry=self.registry)

    def dropped(self, reason: str) -> int:
        return int(self.registry.get_sample_value("bulkhead_log_lines_dropped_total", {"reason": reason}) or 0)

    def read_until(self, ending: bytes) -> bytes:
        text = b""
        while not text.endswith(ending):
            text += os.read(self.reading, 65_536)
        return text


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    os.close(made.reading)


def test_lines_come_whole_and_in_order(pipe: Pipe) -> None:
    for number in range(500):
        pipe.stream.write(b"%d\n" % number)
    assert pipe.read_until(b"499\n").splitlines() == [b"%d" % number for number in range(500)]
    assert pipe.stream.flush()


def test_a_reader_that_sleeps_holds_nobody_up_and_is_told_what_is_missing(pipe: Pipe) -> None:
    for _ in range(10_000):
        pipe.stream.write(LINE)
    # A thousand lines wait, or are on their way, and the kernel's pipe holds some hundreds more.
    dropped = pipe.dropped("full")
    assert 10_000 > dropped > 5_000
    assert not pipe.stream.flush(0.01)
    got = os.read(pipe.reading, 1_000_000)
    reader = threading.Thread(target=lambda: got_all.append(pipe.read_until(b"the end\n")))
    got_all: list[bytes] = []
    reader.start()
    assert pipe.stream.flush(30)
    pipe.stream.write(b"the end\n")
    reader.join(30)
    got += got_all[0]
    assert got.count(LINE) == 10_000 - dropped
    assert sum(map(int, re.findall(rb"^(\d+) are missing$", got, re.MULTILINE))) == dropped


def test_a_reader_that_has_left_costs_its_lines_and_nothing_else() -> None:
    pipe = Pipe()
    os.close(pipe.reading)
    for _ in range(100):
        pipe.stream.write(LINE)
    assert pipe.stream.flush(30)
    assert pipe.dropped("failed") == 100


def test_a_disk_that_was_full_is_written_again_with_whole_lines(tmp_path: Path) -> None:
    """A limit on a file's size ends a write in the middle of a line, as a full disk does."""
    file = tmp_path / "log"
    code = (
        "import os, resource, sys\n"
        "from bulkhead_kit.log_stream import BackgroundStream\n"
        "out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
        "stream = BackgroundStream(out, (b'%d are missing\\n').__mod__)\n"
        "hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (250, hard))\n"
        "stream.write(b'first\\n' * 100)\n"
        "assert stream.flush(30)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\n"
        "stream.write(b'later\\n')\n"
        "assert stream.flush(30)\n"
    )
    subprocess.run([sys.executable, "-c", code, file], check=True, timeout=60)
    text = file.read_bytes()
    # 250 bytes are 41 lines of six and four bytes of the next.
    assert text == b"first\n" * 41 + b"firs\n" + b"59 are missing\n" + b"later\n"

"""The numbers of a bench, as a table and as .run/bench.json."""

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bulkhead_cli.bench.load import Load

WIDTH = 160


@dataclass(frozen=True)
class Result:
    """One method at one number of calls in flight; medians over the rounds."""

    rpc: str
    in_flight: int
    cpu_us: float
    bare_cpu_us: float
    cpu_ratio: float
    pg_cpu_us: float
    rps: float
    bare_rps: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    statements: float
    round_trips: float
    hash_cpu_us: float | None = None
    """Of cpu_us, the password's hash; None for calls without one."""
    cpu_ratio_without_hash: float | None = None


def summed_up(
    rpc: str, in_flight: int, pairs: list[tuple[Load, Load]], statements: float, round_trips: float
) -> Result:
    """`pairs` are (ours, bare) of one round each: a ratio compares processes that ran next to each other."""

    def median(values: list[float]) -> float:
        return round(statistics.median(values), 3)

    ours = [pair[0] for pair in pairs]
    hashed = [(load.apart_us, load, bare) for load, bare in pairs if load.apart_us is not None]
    return Result(
        rpc=rpc,
        in_flight=in_flight,
        cpu_us=median([load.cpu_us for load in ours]),
        bare_cpu_us=median([bare.cpu_us for _, bare in pairs]),
        cpu_ratio=median([load.cpu_us / bare.cpu_us for load, bare in pairs]),
        pg_cpu_us=median([load.database_cpu_us for load in ours]),
        rps=median([load.rps for load in ours]),
        bare_rps=median([bare.rps for _, bare in pairs]),
        p50_ms=median([load.percentile_ms(0.50) for load in ours]),
        p95_ms=median([load.percentile_ms(0.95) for load in ours]),
        p99_ms=median([load.percentile_ms(0.99) for load in ours]),
        statements=statements,
        round_trips=round_trips,
        hash_cpu_us=median([spent for spent, _, _ in hashed]) if hashed else None,
        cpu_ratio_without_hash=(
            median([(load.cpu_us - spent) / bare.cpu_us for spent, load, bare in hashed]) if hashed else None
        ),
    )


def write(results: list[Result], path: Path) -> None:
    """Per method the figures with the most calls in flight; `all` has every line."""
    most = max(result.in_flight for result in results)
    document: dict[str, object] = {
        result.rpc: {key: value for key, value in asdict(result).items() if key != "rpc"}
        for result in results
        if result.in_flight == most
    }
    document["all"] = [asdict(result) for result in results]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def show(results: list[Result], console: Console) -> None:
    table = Table(title="CPU of the service process a call, against a bare gRPC server with the same bytes")
    for name in ("call", "in flight", "CPU us", "bare us", "ratio", "PostgreSQL us", "calls/s", "p50 ms", "p95", "p99"):
        table.add_column(name, justify="left" if name == "call" else "right")
    for name in ("statements", "round trips"):
        table.add_column(name, justify="right")
    for one in results:
        table.add_row(
            one.rpc,
            str(one.in_flight),
            f"{one.cpu_us:.0f}",
            f"{one.bare_cpu_us:.0f}",
            f"[bold]{one.cpu_ratio:.2f}[/]",
            f"{one.pg_cpu_us:.0f}",
            f"{one.rps:.0f}",
            f"{one.p50_ms:.2f}",
            f"{one.p95_ms:.2f}",
            f"{one.p99_ms:.2f}",
            f"{one.statements:.1f}",
            f"{one.round_trips:.1f}",
        )
        if one.hash_cpu_us is not None and one.cpu_ratio_without_hash is not None:
            for part, spent, ratio in (
                ("its argon2 hash", one.hash_cpu_us, one.cpu_ratio - one.cpu_ratio_without_hash),
                ("all the rest of it", one.cpu_us - one.hash_cpu_us, one.cpu_ratio_without_hash),
            ):
                table.add_row(f"  {part}", str(one.in_flight), f"{spent:.0f}", f"{one.bare_cpu_us:.0f}", f"{ratio:.2f}")
    console.print(table)

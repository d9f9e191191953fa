"""Stands in for a source distribution's build backend when only its files are wanted, not its build.

pip asks a backend for metadata even when it merely downloads; protovalidate's real one would need a Rust
toolchain, and all we want of it is validate.proto.
"""

from pathlib import Path


def get_requires_for_build_wheel(config_settings: object = None) -> list[str]:
    return []


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: object = None) -> str:
    facts = Path("PKG-INFO").read_text()
    version = next(line.split(": ")[1] for line in facts.splitlines() if line.startswith("Version: "))
    info = Path(metadata_directory) / f"protovalidate-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: protovalidate\nVersion: {version}\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nTag: py3-none-any\n")
    return info.name

"""The contracts as protoc reads them, comments included; the generated code has lost those."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from buf.validate import validate_pb2
from bulkhead.rpc.v1 import options_pb2
from google.api import annotations_pb2, field_behavior_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, field_mask_pb2, struct_pb2, timestamp_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)
from google.rpc import error_details_pb2, status_pb2

PROTOS = Path(__file__).resolve().parents[2] / "protos"
KNOWN = (
    annotations_pb2,
    descriptor_pb2,
    error_details_pb2,
    field_behavior_pb2,
    field_mask_pb2,
    options_pb2,
    status_pb2,
    struct_pb2,
    timestamp_pb2,
    validate_pb2,
)


@dataclass(frozen=True)
class Method:
    service: str
    proto: MethodDescriptorProto

    @property
    def name(self) -> str:
        return f"{self.service}/{self.proto.name}"

    @property
    def policy(self) -> options_pb2.Policy:
        return self.proto.options.Extensions[options_pb2.policy]

    @property
    def request(self) -> str:
        return self.proto.input_type.removeprefix(".")

    @property
    def reply(self) -> str:
        return self.proto.output_type.removeprefix(".")

    @property
    def streams(self) -> bool:
        return self.proto.client_streaming or self.proto.server_streaming


@dataclass
class Contract:
    methods: list[Method] = field(default_factory=list)
    messages: dict[str, DescriptorProto] = field(default_factory=dict)
    enums: dict[str, EnumDescriptorProto] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    """By full name of everything that can be named: services, methods, messages, fields, enums, values."""

    def request_messages(self, methods: Sequence[Method]) -> dict[str, DescriptorProto]:
        """Every message of ours that a client of these methods can send, the nested ones too."""
        found: dict[str, DescriptorProto] = {}
        waiting = [method.request for method in methods]
        while waiting:
            name = waiting.pop()
            message = self.messages.get(name)
            if message is None or name in found:
                continue
            found[name] = message
            waiting += [f.type_name.removeprefix(".") for f in message.field if f.type_name]
        return found

    def request_fields(self, methods: Sequence[Method] | None = None) -> Iterator[tuple[str, FieldDescriptorProto]]:
        """Of all methods, unless some are named."""
        for name, message in self.request_messages(self.methods if methods is None else methods).items():
            for each in message.field:
                yield f"{name}.{each.name}", each


def compile_protos(root: Path, names: Sequence[str]) -> FileDescriptorSet:
    """Imports that are not below `root` come from the installed packages' generated code."""
    with tempfile.TemporaryDirectory() as folder:
        imports, out = Path(folder, "imports.binpb"), Path(folder, "out.binpb")
        imports.write_bytes(_imports(root).SerializeToString())
        command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(root)]
        command += [f"--descriptor_set_in={imports}", f"--descriptor_set_out={out}", "--include_source_info"]
        done = subprocess.run([*command, *names], cwd=root, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(done.stderr)
        return FileDescriptorSet.FromString(out.read_bytes())


def _imports(root: Path) -> FileDescriptorSet:
    found: dict[str, FileDescriptorProto] = {}
    waiting = [module.DESCRIPTOR.name for module in KNOWN]
    while waiting:
        name = waiting.pop()
        if name in found or (root / name).exists():
            continue
        found[name] = FileDescriptorProto()
        descriptor_pool.Default().FindFileByName(name).CopyToProto(found[name])
        waiting += found[name].dependency
    return FileDescriptorSet(file=found.values())


def read(files: FileDescriptorSet) -> Contract:
    contract = Contract()
    for file in files.file:
        _read_file(file, contract)
    return contract


def _read_file(file: FileDescriptorProto, contract: Contract) -> None:
    by_path = {tuple(at.path): at.leading_comments.strip() for at in file.source_code_info.location}
    note = _Notes(by_path, contract)
    for number, message in enumerate(file.message_type):
        note.message((4, number), file.package, message)
    for number, enum in enumerate(file.enum_type):
        note.enum((5, number), file.package, enum)
    for number, service in enumerate(file.service):
        full = f"{file.package}.{service.name}"
        contract.comments[full] = by_path.get((6, number), "")
        for at, method in enumerate(service.method):
            contract.methods.append(Method(full, method))
            contract.comments[f"{full}/{method.name}"] = by_path.get((6, number, 2, at), "")


@dataclass
class _Notes:
    by_path: dict[tuple[int, ...], str]
    contract: Contract

    def message(self, path: tuple[int, ...], prefix: str, message: DescriptorProto) -> None:
        full = f"{prefix}.{message.name}"
        self.contract.messages[full] = message
        if not message.options.map_entry:
            self._note(full, path)
            for number, each in enumerate(message.field):
                self._note(f"{full}.{each.name}", (*path, 2, number))
        for number, nested in enumerate(message.nested_type):
            self.message((*path, 3, number), full, nested)
        for number, enum in enumerate(message.enum_type):
            self.enum((*path, 4, number), full, enum)

    def enum(self, path: tuple[int, ...], prefix: str, enum: EnumDescriptorProto) -> None:
        full = f"{prefix}.{enum.name}"
        self.contract.enums[full] = enum
        self._note(full, path)
        for number, value in enumerate(enum.value):
            self._note(f"{full}.{value.name}", (*path, 2, number))

    def _note(self, name: str, path: tuple[int, ...]) -> None:
        self.contract.comments[name] = self.by_path.get(path, "")


@lru_cache(maxsize=1)
def contract() -> Contract:
    names = sorted(file.relative_to(PROTOS).as_posix() for file in PROTOS.rglob("*.proto"))
    return read(compile_protos(PROTOS, names))

"""A grpc.aio server without anything: each method answers with bytes read at the start. The limit to measure against.

python -m bulkhead_cli.bench.bare PORT REPLIES.json     {"/package.Service/Method": "<hex>"}
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import grpc.aio

Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"


def _handler(reply: bytes) -> Handler:
    async def answer(_request: bytes, _context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        return reply

    return grpc.unary_unary_rpc_method_handler(answer)


async def serve(port: int, replies: dict[str, str]) -> None:
    server = grpc.aio.server()
    by_service: dict[str, dict[str, Handler]] = {}
    for path, reply in replies.items():
        service, _, method = path.removeprefix("/").partition("/")
        by_service.setdefault(service, {})[method] = _handler(bytes.fromhex(reply))
    for service, handlers in by_service.items():
        server.add_registered_method_handlers(service, handlers)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))))

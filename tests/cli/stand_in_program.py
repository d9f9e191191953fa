"""A small program in a service's place; with `serve` it answers health as a service does.

BULKHEAD_TEST_FALLS names a program that falls at once; with BULKHEAD_TEST_SILENT none of them answers.
"""

import os
import signal
import sys
import time


def main(name: str) -> None:
    service, part = name.split(".")
    if os.environ.get("BULKHEAD_TEST_FALLS") == name:
        sys.exit(f"{name} cannot work today")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    answers = part == "serve" and "BULKHEAD_TEST_SILENT" not in os.environ
    server = serve(os.environ[f"BULKHEAD_{service.upper()}_LISTEN"]) if answers else None
    print(f"{name} is there", flush=True)
    try:
        time.sleep(600)
    finally:
        print(f"{name} says goodbye", flush=True)
        del server


def serve(address: str) -> object:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - four of seven programs start without it

    import grpc  # noqa: PLC0415 - as above
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # noqa: PLC0415 - as above

    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    server = grpc.server(ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(address)
    server.start()
    return server


if __name__ == "__main__":
    main(sys.argv[1])

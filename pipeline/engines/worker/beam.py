"""``webtext-worker``: what a task manager starts as a Beam worker (environment type PROCESS).

It is told where to ask, asks for everything else, and becomes a worker. Beam's container images have one
in Go for this; a machine without containers needs these lines. Worker pools start it too.
"""

import argparse
import os
import sys

import grpc
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc
from apache_beam.runners.worker import sdk_worker_main
from google.protobuf import json_format, text_format

_ANSWERS_WITHIN_S = 30


def main() -> None:
    """Asks the provision service who it is, and works until it is told to stop."""
    parser = argparse.ArgumentParser(
        prog="webtext-worker", description="A Beam worker of webtext's, started by an engine's task manager."
    )
    parser.add_argument("--id", required=True, help="the worker's name")
    parser.add_argument("--provision_endpoint", required=True, help="who knows the rest, as HOST:PORT")
    given, _ = parser.parse_known_args()
    os.environ.update(_environment(given.id, given.provision_endpoint))
    sdk_worker_main.main(sys.argv)


def _environment(worker: str, endpoint: str) -> dict[str, str]:
    """What Beam's worker reads from its environment."""
    with grpc.insecure_channel(endpoint) as channel:
        service = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        request = beam_provision_api_pb2.GetProvisionInfoRequest()
        answer = service.GetProvisionInfo(
            request, metadata=(("worker_id", worker),), timeout=_ANSWERS_WITHIN_S, wait_for_ready=True
        )
    info = answer.info
    return {
        "WORKER_ID": worker,
        "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.control_endpoint),
        "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.logging_endpoint),
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
    }


if __name__ == "__main__":
    main()

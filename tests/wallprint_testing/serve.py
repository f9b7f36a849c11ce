"""A `wallprint` program with a test pipeline; understands `serve` with its options.

Settings come as JSON in WALLPRINT_TEST_CONFIG. WALLPRINT_TEST_PLANT names a fault of
`wallprint_testing.plants` that the server is to have.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from pathlib import Path


def main() -> int:
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # for the worker
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("--ensure", action="store_true")
    parser.add_argument("--systemd", action="store_true")
    parser.add_argument("--start-id", default="")
    options = parser.parse_args()
    from wallprint_protocol.errors import WallprintError
    from wallprint_server import service
    from wallprint_server.config import ServerConfig

    sys.path.insert(0, os.environ["PYTHONPATH"])
    if plant := os.environ.get("WALLPRINT_TEST_PLANT"):
        getattr(importlib.import_module("wallprint_testing.plants"), plant)()
    settings = {
        "pipeline": "wallprint_testing.pipelines:by_model",
        "engine": "wallprint_testing.pipelines:NoEngine",
        **json.loads(os.environ.get("WALLPRINT_TEST_CONFIG", "{}")),
    }
    try:
        return service.serve(
            ensure=options.ensure,
            start_id=options.start_id,
            systemd=options.systemd,
            config=ServerConfig.load(**settings),
        )
    except WallprintError as error:
        print(error.message, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())

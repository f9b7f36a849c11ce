"""Fixtures of the proofs: what the whole bridge stands, from outside."""

from wallprint_testing.lan import host_dir  # noqa: F401
from wallprint_testing.servers import (  # noqa: F401
    no_leaks,
    server,
    start_server,
    state_dir,
)

"""Fixtures of the server's tests."""

from wallprint_testing.lan import computers, host_dir  # noqa: F401
from wallprint_testing.servers import (  # noqa: F401
    no_leaks,
    server,
    start_server,
    state_dir,
)

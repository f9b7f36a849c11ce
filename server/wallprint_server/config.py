"""What can be set on the server, and the limits it announces. Knows nothing of what they govern."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from wallprint_protocol import endpoint
from wallprint_protocol.errors import BadInput
from wallprint_protocol.flow import MAX_WINDOW_BYTES, WINDOW_BYTES
from wallprint_protocol.print_size import MAX_SIDE_PX
from wallprint_protocol.wire import MAX_CHUNK_BYTES, MAX_HEADER_BYTES

from .pairing import LOCAL, PRIVATE_NETWORKS

CONFIG_FILE = endpoint.file_name("config.json")


@dataclass(frozen=True)
class Limits:
    """Checked with Python integers before anything is allocated (protocol.md 2.12)."""

    side_px: int = MAX_SIDE_PX
    input_px: int = 256_000_000
    input_bytes: int = 8 << 30
    output_px: int = 4_096_000_000
    output_bytes: int = 64 << 30
    tiles: int = 1 << 20
    header: int = MAX_HEADER_BYTES
    chunk: int = MAX_CHUNK_BYTES
    window: int = MAX_WINDOW_BYTES
    icc_bytes: int = 4 << 20
    jobs_per_client: int = 4
    jobs: int = 16
    clients: int = 32

    def to_map(self) -> dict[str, int]:
        """The `limits` map of `welcome`."""
        return asdict(self)


@dataclass(frozen=True)
class ServerConfig:
    """One server's settings; `config.json` in the state directory may name any but the first.

    Attributes:
        state_dir: private directory of the socket, the connection file, the spool and the log.
        tcp: listen on 127.0.0.1 instead of a socket file.
        lan: `IP` or `IP:PORT` at which paired computers may have prints made here; "" for none.
        lan_allow: networks and addresses, with commas between, from which they may come.
        host: where a job is computed that does not say it: `local`, the name of a paired host, or
            `NAME,local`, here where that one is away.
        idle_exit_s: the server ends after this long without client and job, but not while it
            serves the network.
        worker_idle_s: the worker process (and all memory of the networks) ends after this long.
        prestart: start the worker right after binding, so that the first job finds it warm.
        device: what the worker is warmed for.
        ping_ms: silence after which each side asks whether the other is there.
        grace_s: how long the jobs of a client whose connection broke are kept for its return.
        silent_s: a client that says nothing for so long is lost.
        upload_timeout_s: a job that may send and does not for so long ends with E_TIMEOUT.
        login_s: time for the login.
        cancel_patience_s: a worker that does not leave a cancelled job for so long is killed.
        stuck_s: a worker that reports no progress for so long is killed; the largest tile of the
            slowest network on a slow CPU must fit in.
        window_bytes: pixels under way per job and direction.
        pipeline: `module:function` that does the work (signature: pipeline.enhance.enhance).
        engine: `module:class` called with the device's name, kept for the following jobs.
    """

    state_dir: Path
    tcp: bool = False
    lan: str = ""
    lan_allow: str = PRIVATE_NETWORKS
    host: str = LOCAL
    idle_exit_s: float = 20 * 60.0
    worker_idle_s: float = 5 * 60.0
    prestart: bool = True
    device: str = "auto"
    ping_ms: int = 2000
    grace_s: float = 15.0
    silent_s: float = 120.0
    upload_timeout_s: float = 120.0
    login_s: float = 5.0
    cancel_patience_s: float = 120.0
    stuck_s: float = 15 * 60.0
    window_bytes: int = WINDOW_BYTES
    pipeline: str = "wallprint_server.pipeline.enhance:enhance"
    engine: str = "wallprint_server.models.engine:Engine"
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def load(cls, state_dir: Path | None = None, **overrides: Any) -> ServerConfig:
        """Defaults, then `config.json`, then `overrides` that are not None.

        Raises:
            BadInput: the file cannot be read, or names a setting that does not exist.
        """
        directory = (state_dir or endpoint.state_dir()).absolute()
        config = cls(directory)
        path = directory / CONFIG_FILE
        if path.exists():
            try:
                values = json.loads(path.read_text("utf-8"))
                config = replace(config, **_checked(values))
            except (OSError, ValueError) as error:
                raise BadInput(f"{path}: {error}") from None
        return replace(config, **{k: v for k, v in overrides.items() if v is not None})


def _checked(values: Any) -> dict[str, Any]:
    """Settings from the file, of the right types; raises ValueError otherwise."""
    if not isinstance(values, dict):
        raise ValueError("a JSON object is expected")
    defaults = {
        f.name: f.default for f in fields(ServerConfig) if f.name not in ("state_dir", "limits")
    }
    for name, value in values.items():
        if name not in defaults:
            raise ValueError(f"there is no setting {name!r}; there are {', '.join(defaults)}")
        wanted = type(defaults[name])
        fits = isinstance(value, (int, float) if wanted is float else wanted)
        if not fits or (wanted is not bool and isinstance(value, bool)):
            raise ValueError(f"{name} must be a {wanted.__name__}, not {value!r}")
    return values

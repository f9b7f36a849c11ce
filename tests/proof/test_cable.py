"""Two computers with a cable between them: network namespaces of Linux; root is needed."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time

import pytest

from wallprint_protocol.errors import ServerTrouble
from wallprint_testing.lan import TwoComputers
from wallprint_testing.servers import Picture

HOST, USER, STRANGER = "10.213.77.1", "10.213.77.2", "10.213.77.3"
CUT_S = 5.0


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def within(name: str) -> list[str]:
    """Command that runs another on that computer."""
    return ["ip", "netns", "exec", name]


@pytest.fixture
def cable():
    """Two namespaces, joined: `wp-host` and `wp-user`."""
    if shutil.which("ip") is None:
        pytest.skip("there is no `ip` here")
    names = ("wp-host", "wp-user")
    try:
        for name in names:
            ip("netns", "add", name)
        ip(
            "link",
            "add",
            "wp0",
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            "wp1",
            "netns",
            names[1],
        )
        for name, device, address in zip(names, ("wp0", "wp1"), (HOST, USER), strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", device)
            ip("-n", name, "link", "set", device, "up")
            ip("-n", name, "link", "set", "lo", "up")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network of our own can be made here: {error.stderr.strip()}")
    else:
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.fixture
def computers(cable, host_dir, state_dir, no_leaks):
    """The servers, not started."""
    both = TwoComputers(host_dir, state_dir, HOST)
    yield both
    both.close()


def test_print_goes_over_the_cable_from_the_allowed_address_only(cable, computers):
    host, user = cable
    computers.start_here(within=within(user))
    for allowed, comes_in in ((f"{STRANGER},192.168.0.0/16", False), (USER, True)):
        running = computers.start_host(within=within(host), lan_allow=allowed)
        picture = Picture(300, 200, (400, 300))
        with computers.connect() as connection:
            if comes_in:
                picture.enhance(connection)
                assert picture.result == picture.expected()
            else:
                with pytest.raises(ServerTrouble, match="does not let this computer in"):
                    picture.enhance(connection)
        running.stop()


def test_cable_that_is_pulled_for_a_while(cable, computers):
    """Nothing ends the connection meanwhile; the print goes on when the cable is back."""
    host, user = cable
    computers.start_here(within=within(user))
    computers.start_host(within=within(host))
    picture, pulled = Picture(300, 1600, model="slow"), []

    def plug_in() -> None:
        time.sleep(CUT_S)
        ip("-n", host, "link", "set", "wp0", "up")
        pulled.append("back")

    thread = threading.Thread(target=plug_in)

    def write(rect, pixels):
        picture.write(rect, pixels)
        if not pulled:
            pulled.append("out")
            ip("-n", host, "link", "set", "wp0", "down")
            thread.start()

    with computers.connect() as connection:
        picture.enhance(connection, write=write)
    thread.join()
    assert pulled == ["out", "back"]
    assert picture.result == picture.expected()

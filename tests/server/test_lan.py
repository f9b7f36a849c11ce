"""The door to the network: who gets in, who does not, and what is told of it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import zmq

from wallprint_protocol import client, endpoint, messages
from wallprint_protocol.connection import Connection
from wallprint_protocol.dealer_pyzmq import curve_key_pair
from wallprint_protocol.dealer_zmtp import ZmtpDealer
from wallprint_protocol.endpoint import CurveKeys
from wallprint_protocol.errors import (
    GateRefused,
    LinkError,
    LinkRefused,
    ServerTrouble,
    WallprintError,
)
from wallprint_server import cli
from wallprint_server.pairing import Pairings
from wallprint_server.transport import LanDoor, Transport
from wallprint_testing.lan import free_port, talk, two_computers
from wallprint_testing.servers import LAUNCHER, Picture, wait_until
from wallprint_testing.strangers import send_web_request, web_requests

GATE = b"g" * 64


# -- the door, without a server --------------------------------------------------------------------


class Door:
    """A transport with a door to the network and one paired client; counts what is delivered."""

    def __init__(self, directory, refusal=None) -> None:
        self.server = curve_key_pair()
        self.client = curve_key_pair()
        self.transport = Transport(
            f"ipc://{directory}/t.sock",
            GATE,
            lambda: True,
            lan=LanDoor("tcp://127.0.0.1:0", *self.server, refusal or self.only_ours),
        )
        self.address = self.transport.lan_endpoint
        self.path = directory / "t.sock"
        self.context = zmq.Context()
        self.peers: list[zmq.Socket] = []
        self.delivered = 0

    def only_ours(self, public, address):
        return "" if public == self.client[0] else "a key that is not paired"

    def peer(self, prepare) -> zmq.Socket:
        """A socket that connects and sends a message at once."""
        peer = self.context.socket(zmq.DEALER)
        peer.linger = 0
        prepare(peer)
        peer.connect(self.address)
        peer.send(b"a message")
        self.peers.append(peer)
        return peer

    def keys(self, pair=None, server=None):
        def prepare(peer):
            peer.curve_publickey, peer.curve_secretkey = pair or self.client
            peer.curve_serverkey = server or self.server[0]

        return prepare

    def listen(self, until=lambda: False, timeout_s=0.6) -> int:
        """What was delivered so far, having listened for a while."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and not until():
            self.transport.wait(0.005)
            while self.transport.receive():
                self.delivered += 1
        return self.delivered

    def close(self):
        for peer in self.peers:
            peer.close()
        self.context.term()
        self.transport.close()
        self.path.unlink(missing_ok=True)


@pytest.fixture
def door(state_dir):
    opened = Door(state_dir)
    yield opened
    opened.close()


def test_paired_key_gets_in_and_is_known_by_it(door):
    door.transport.self_test()
    door.peer(door.keys())
    assert door.listen(lambda: door.delivered, 3.0) == 1


def plain(peer):
    peer.plain_username, peer.plain_password = b"wpp1", GATE


@pytest.mark.parametrize("who", ["wrong key", "null", "plain", "wrong server key"])
def test_without_a_paired_key_no_message_is_delivered(door, who):
    """A key that is not paired; no key, even with the local gate; a guess at the server's key."""
    prepare = {
        "wrong key": door.keys(pair=curve_key_pair()),
        "null": lambda peer: None,
        "plain": plain,
        "wrong server key": door.keys(server=curve_key_pair()[0]),
    }[who]
    door.peer(prepare)
    assert door.listen() == 0
    door.peer(door.keys())
    assert door.listen(lambda: door.delivered, 3.0) == 1  # the test can see messages


def test_paired_key_from_another_address_is_refused(state_dir):
    heard = []

    def from_elsewhere(public, address):
        heard.append(address)
        return "an address that is not allowed"

    door = Door(state_dir, from_elsewhere)
    try:
        door.peer(door.keys())
        assert door.listen() == 0
        assert set(heard) == {"127.0.0.1"}
    finally:
        door.close()


def test_list_that_cannot_be_read_lets_nobody_in(state_dir):
    def broken(public, address):
        raise OSError("a disk that fails")

    door = Door(state_dir, broken)
    try:
        door.peer(door.keys())
        assert door.listen() == 0
    finally:
        door.close()


def test_web_page_delivers_nothing_through_the_door_to_the_network(door):
    for number, request in enumerate(web_requests(b"\x0d\0EVIL-MESSAGE")):
        if number % 3 == 0:
            send_web_request(door.address, request, 0.005)
            door.listen(timeout_s=0.005)
    assert door.listen() == 0


def test_dead_gatekeeper_lets_nobody_in(door):
    """Neither a paired client that comes now, nor one that is in already."""
    inside = door.peer(door.keys())
    assert door.listen(lambda: door.delivered, 3.0) == 1
    door.transport._zap.close(linger=0)
    door.peer(door.keys())
    inside.send(b"another")
    time.sleep(0.4)
    assert door.transport.receive() is None
    with pytest.raises(ServerTrouble, match="gatekeeper"):
        door.transport.wait(0.01)


def test_messages_of_a_door_whose_gatekeeper_never_was_are_dropped(door):
    """The library alone, without our check of the User-Id: it must refuse, too."""
    door.transport._zap.close(linger=0)
    door.peer(door.keys())
    time.sleep(0.5)
    lan = door.transport._doors[b"n"].socket
    assert lan.poll(0) == 0


def run_planted(directory, plant, timeout_s=20):
    """A server with a fault and a door to the network: its exit code and last words."""
    address = f"127.0.0.1:{free_port()}"
    environment = {
        **os.environ,
        "WALLPRINT_STATE_DIR": str(directory),
        "WALLPRINT_TEST_CONFIG": json.dumps({"lan": address, "prestart": False}),
        "WALLPRINT_TEST_PLANT": plant,
    }
    process = subprocess.Popen([*LAUNCHER, "serve"], env=environment, stderr=subprocess.PIPE)
    try:
        return process.communicate(timeout=timeout_s)[1].decode(), process.returncode, address
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        ("everyone_comes_in", "an unknown key was not refused"),
        ("nobody_comes_in", "the right key was not accepted"),
        ("no_encryption", "an unknown key was not refused"),
    ],
)
def test_server_that_fails_its_self_test_does_not_serve(state_dir, plant, words):
    said, code, _ = run_planted(state_dir, plant)
    assert (code, words in said) == (3, True), said
    assert not (state_dir / "server.json").exists()


def test_server_whose_gatekeeper_dies_ends(host_dir, state_dir, monkeypatch):
    """The first peer after its death finds nobody; the server says why it ended."""
    monkeypatch.setenv("WALLPRINT_TEST_PLANT", "gatekeeper_dies")
    with two_computers(host_dir, state_dir) as both:
        with pytest.raises(LinkError):
            talk(both.paired)
        wait_until(lambda: both.host.process.poll() is not None, 5)
        assert both.host.process.returncode == 3
        assert "the gatekeeper has failed" in both.host.log()


# -- a real host -----------------------------------------------------------------------------------


def test_nothing_listens_on_the_network_by_default(server):
    listening = psutil.Process(server.process.pid).net_connections("inet")
    assert listening == []
    status = server.status()["lan"]
    assert (status["state"], status["endpoint"], status["clients"]) == ("off", "", [])


def test_only_the_door_listens_when_it_is_asked_for(computers):
    listening = psutil.Process(computers.host.process.pid).net_connections("inet")
    assert {(c.laddr.port, c.status) for c in listening} == {(computers.port, "LISTEN")}
    assert psutil.Process(computers.here.process.pid).net_connections("inet") == []


def test_status_tells_who_is_paired(computers):
    lan = computers.host.status()["lan"]
    assert (lan["state"], lan["endpoint"]) == ("on", f"tcp://{computers.address}")
    assert (lan["clients"], lan["connected"]) == (["laptop"], 0)
    with talk(computers.paired):
        assert computers.host.status()["lan"]["connected"] == 1
    here = computers.here.status()
    assert (here["lan"]["state"], here["hosts"], here["host"]) == ("off", ["studio"], "local")


def test_paired_key_without_the_login_key_is_refused(computers):
    """The second proof: whoever copied the CURVE key alone does not get in."""
    wrong = replace(computers.paired.connection_info(), key=bytes(32))
    with pytest.raises(LinkError, match="could not prove"):
        Connection(wrong, checksums=True)


def test_client_that_is_not_paired_or_not_allowed_is_refused(computers, host_dir):
    stranger = replace(
        computers.paired, curve=CurveKeys(computers.paired.curve.server, *curve_key_pair())
    )
    with pytest.raises(GateRefused, match="refused the gate"):
        talk(stranger)
    computers.host.stop()
    computers.start_host(lan_allow="192.0.2.0/24")
    with pytest.raises(GateRefused, match="refused the gate"):
        talk(computers.paired)
    with computers.connect() as connection:
        with pytest.raises(ServerTrouble, match="does not let this computer in") as caught:
            Picture(20, 10).enhance(connection)
        assert caught.value.code == "E_HOST_AWAY"
    assert "an address that is not allowed" in computers.host.log()


def test_removed_client_is_out_at_once_and_its_job_ends(computers):
    picture = Picture(300, 4000, model="slow")
    removed = []

    def write(rect, pixels):
        if not removed:
            removed.append(Pairings(computers.host_dir).remove("laptop"))

    with computers.connect() as connection:
        with pytest.raises(ServerTrouble, match="does not let this computer in"):
            picture.enhance(connection, write=write)
        wait_until(lambda: computers.host.status()["jobs"] == {}, 3)
    with pytest.raises(GateRefused):
        talk(computers.paired)


@pytest.mark.parametrize(
    "message", [messages.ServerStatus, messages.ServerStop, messages.Models], ids=lambda m: m.t
)
def test_another_computer_may_have_prints_made_and_nothing_else(computers, message):
    with talk(computers.paired) as link:
        with pytest.raises(WallprintError) as caught:
            link.request(message(link.next_id()), messages.Ok, 2.0)
        assert caught.value.code == "E_PROTO"
        Picture(20, 10).enhance(link)
    assert computers.host.process.poll() is None


def test_address_that_is_not_there_today_keeps_nobody_from_printing(start_server, capfd):
    server = start_server(lan="192.0.2.77:47970")
    status = server.status()["lan"]
    assert status["state"] == "failed"
    assert "192.0.2.77" in status["problem"]
    assert "no network: cannot listen at tcp://192.0.2.77:47970" in capfd.readouterr().err
    with server.connect() as connection:
        Picture(20, 10).enhance(connection)


@pytest.mark.parametrize(
    ("started", "configured", "words"),
    [
        ({"lan": "192.0.2.77"}, "192.0.2.77", "not in the network: cannot listen"),
        ({"lan": ""}, "192.168.1.20", "run `wallprint stop`"),
        ({}, "", "wallprint serve --lan"),
    ],
    ids=["away", "before", "never"],
)
def test_nobody_is_invited_while_the_network_is_not_served(
    start_server, capsys, monkeypatch, started, configured, words
):
    server = start_server(**started)
    (server.state_dir / "config.json").write_text(json.dumps({"lan": configured}))
    monkeypatch.setenv("WALLPRINT_STATE_DIR", str(server.state_dir))
    assert cli.main(["pair"]) == 2
    assert words in capsys.readouterr().err
    assert not (server.state_dir / "lan" / "invitation.json").exists()


def test_host_stays_although_it_is_idle(host_dir, state_dir, no_leaks):
    with two_computers(host_dir, state_dir) as both:
        both.host.stop()
        both.start_host(idle_exit_s=0.3)
        time.sleep(1.2)
        assert both.host.process.poll() is None
        with talk(both.paired) as link:
            Picture(20, 10).enhance(link)


# -- what is told ----------------------------------------------------------------------------------


def test_errors_to_another_computer_name_no_folder(host_dir, state_dir, monkeypatch):
    """A full disk's sentence names the state directory, to the host's own user only."""
    monkeypatch.setenv("WALLPRINT_TEST_PLANT", "disk_is_full")
    said = {}
    with two_computers(host_dir, state_dir) as both:
        for who, connect in (("own", both.host.connect), ("other", lambda: talk(both.paired))):
            with connect() as link, pytest.raises(WallprintError) as caught:
                Picture(20, 10).enhance(link)
            said[who] = caught.value
    assert said["own"].code == said["other"].code == "E_DISK_FULL"
    assert str(host_dir) in said["own"].message
    assert said["other"].message == said["other"].sentence
    assert said["other"].detail.keys() == {"needed_bytes"}


def test_bug_in_the_host_is_told_without_its_words(computers):
    """An exception's text may hold a path."""
    with computers.connect() as connection, pytest.raises(WallprintError) as caught:
        Picture(20, 10, model="bug").enhance(connection)
    assert caught.value.code == "E_INTERNAL"
    assert "a secret bug" in computers.host.log()
    assert "a secret bug" not in str(caught.value) + computers.here.log()
    assert computers.here.log().count("worker") == 1  # ours is not to blame and stays


def test_logs_of_the_host_name_nobody(computers):
    """Not what the other computer says of itself, nor its address; no pixels."""
    picture = Picture(60, 40)
    with talk(computers.paired) as link:
        picture.enhance(link)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wallprint_protocol.connection.__version__", "anna-meier")
        talk(computers.paired).close()
    wait_until(lambda: computers.host.log().count("is gone") == 2)
    log = computers.host.log()
    assert computers.paired.curve.public.hex() not in log
    for name in ("anna", "laptop", "127.0.0.1", os.uname().nodename):
        assert name not in log, name
    assert picture.pixels[:8].hex() not in log
    here = computers.here.log()
    assert "127.0.0.1" not in here


def test_another_computer_learns_nothing_of_the_users_program(computers):
    """What crosses: name and version of wallprint; no user, process, system or editor."""
    sent = []
    whole = Connection.send

    def send(self, message):
        sent.append(message)
        whole(self, message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "send", send)
        talk(computers.paired, editor="Krita", editor_version="5").close()
    (hello,) = [message for message in sent if isinstance(message, messages.Hello)]
    assert hello.client.keys() == {"name", "version"}


def test_folder_of_the_pairings_holds_keys_and_nothing_else(computers):
    """No invitation that was used up, no file half written."""
    with computers.connect() as connection:
        Picture(20, 10).enhance(connection)
    for directory, files in (
        (computers.here_dir, {"hosts.json"}),
        (computers.host_dir, {"key.json", "clients.json"}),
    ):
        assert {path.name for path in (directory / "lan").iterdir()} == files


# -- who speaks to another computer ----------------------------------------------------------------


def test_connection_file_leads_to_no_other_computer(state_dir):
    """Not even one that brings keys along: they are taken from a pairing, by the relay alone."""
    info = endpoint.ConnectionInfo.new(("tcp://192.0.2.7:47970",), start_id="", version="0", log="")
    keys = {name: "11" * 32 for name in ("server", "public", "secret")}
    value = {**json.loads(info.to_json()), "curve": keys}
    endpoint.write_private(state_dir / "server.json", json.dumps(value))
    with pytest.raises(LinkRefused, match="not on this computer"):
        client.connect(state_dir, start=False)
    (state_dir / "server.json").unlink()


def test_editors_have_no_way_to_another_computer():
    """Neither a plug-in nor the public client names keys; an editor's own socket takes none."""
    root = Path(__file__).parents[2]
    files = [*root.glob("plugin_*/**/*.py"), root / "shared" / "wallprint_protocol" / "client.py"]
    assert len(files) > 20
    for path in files:
        text = path.read_text("utf-8")
        assert not any(word in text for word in ("CurveKeys", "curve=", "hosts.json")), path
    keys = CurveKeys(bytes(32), bytes(32), bytes(32))
    with pytest.raises(LinkRefused, match="pyzmq"):
        ZmtpDealer().connect("tcp://127.0.0.1:1", user=b"", password=b"", timeout_s=1.0, curve=keys)

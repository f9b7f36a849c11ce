"""Strangers: no message of theirs is delivered, no pixel gets to them, no memory goes to them."""

from __future__ import annotations

from dataclasses import replace

import psutil
import pytest
import zmq

from wallprint_protocol import client
from wallprint_protocol.connection import Connection
from wallprint_protocol.errors import LinkRefused, WallprintError
from wallprint_server.transport import Transport
from wallprint_testing.interference import picture_of
from wallprint_testing.proxy import DOWN, UP, Proxy
from wallprint_testing.servers import Picture, wait_until
from wallprint_testing.strangers import flood, send_web_request, web_requests
from wallprint_testing.watching import usage, wait_for_rest

FLOOD_MIB, IDLE = 600, 200
GROWTH_MIB, CLIENT_S = 8.0, 3.0
BODY = b"\x0d\0EVIL-MESSAGE"  # a frame of ZMTP 1.0: its length, its flags, twelve bytes


@pytest.mark.parametrize(
    "settings",
    [{}, {"tcp": True}, {"lan": "127.0.0.1:0"}],
    ids=["ipc", "tcp", "lan"],
)
def test_flood_before_login_costs_no_memory_and_real_clients_get_in(start_server, settings):
    """600 MiB of messages that never end, beside 200 connections that say nothing."""
    server = start_server(**settings)
    with server.connect() as connection:
        Picture(20, 10).enhance(connection)
    before = usage(server.process.pid)
    result = flood(server, FLOOD_MIB, IDLE, server.status()["lan"]["endpoint"])
    assert result.growth_mib < GROWTH_MIB
    assert result.client_s < CLIENT_S
    assert result.served
    assert result.connections > 50  # each was thrown out early
    process = psutil.Process(server.process.pid)
    wait_until(lambda: process.num_fds() <= before.descriptors + 2, 10)
    wait_for_rest(server)


def received_from_web(address: str, receive) -> int:
    """How many messages arrive while web pages send everything they can."""
    count = 0
    for request in web_requests(BODY):
        send_web_request(address, request)
        while receive():
            count += 1
    return count


def test_web_page_delivers_no_message_in_any_alignment(state_dir):
    """The same requests do reach a socket without the gate: the test can see them."""
    guarded = Transport("tcp://127.0.0.1:*", b"g" * 64, lambda: True)
    try:

        def receive():
            guarded.wait(0.005)
            return guarded.receive()

        assert received_from_web(guarded.endpoint, receive) == 0
    finally:
        guarded.close()
    with zmq.Context() as context, context.socket(zmq.ROUTER) as naked:
        naked.linger = 0
        port = naked.bind_to_random_port("tcp://127.0.0.1")
        delivered = received_from_web(
            f"tcp://127.0.0.1:{port}",
            lambda: naked.poll(5) and b"EVIL-MESSAGE" in b"".join(naked.recv_multipart()),
        )
    assert delivered > 0


def test_web_page_does_not_disturb_a_server_at_work(start_server):
    server = start_server(tcp=True)
    with server.connect() as connection:
        for number, request in enumerate(web_requests(BODY)):
            send_web_request(server.info().endpoints[0], request, 0.002)
            if number % 10 == 0:
                picture = Picture(20, 10, (30, 30))
                picture.enhance(connection)
                assert picture.result == picture.expected()
        assert connection.status()["clients"] == 1


@pytest.mark.parametrize("who", ["client", "impostor"])
def test_wrong_key_on_either_side_ends_before_any_pixel(server, who):
    """All bytes of the wire are looked at: a client with a wrong key learns and gives nothing, and

    to a client with the right key a server with another is an impostor.
    """
    info = server.info()
    wrong = replace(info, key=bytes(32))
    path = server.state_dir / "proxy.sock"
    picture = picture_of(5, 300)
    with Proxy(path, str(server.state_dir / "s.sock")) as proxy:
        proxy.record()
        wrong = wrong.at((f"ipc://{path}",))
        with pytest.raises(LinkRefused, match="could not prove"), Connection(wrong) as link:
            client.enhance(picture.request, picture.read, picture.write, connection=link)
        if who == "client":  # one that does not care who answers
            with pytest.raises(WallprintError, match="wrong proof"):
                careless_login(wrong)
        up, down = bytes(proxy.seen[UP]), bytes(proxy.seen[DOWN])
    assert b"hello" in up
    assert b"challenge" in down
    assert (b"auth" in up) == (who == "client")
    assert b"job.open" not in up
    assert b"welcome" not in down
    pixels = picture.source.tobytes()
    assert not any(pixels[at : at + 8] in up for at in range(0, len(pixels) - 8, 8))
    assert info.key not in up + down
    assert picture.rows == 0


def careless_login(info) -> None:
    """A client that does not check the server's proof."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wallprint_protocol.wire.same", lambda a, b: True)
        Connection(info).close()


def test_an_honest_connection_is_seen_by_the_same_tap(server):
    """The tap does see pixels where there are any."""
    path = server.state_dir / "proxy.sock"
    picture = picture_of(5, 300)
    with Proxy(path, str(server.state_dir / "s.sock")) as proxy:
        proxy.record()
        with Connection(server.info().at((f"ipc://{path}",))) as link:
            client.enhance(picture.request, picture.read, picture.write, connection=link)
        assert picture.source.tobytes()[:1000] in bytes(proxy.seen[UP])
    assert picture.whole

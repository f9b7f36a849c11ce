"""Who gets in, and what strangers and rule-breakers achieve: nothing."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import socket
import threading
import time

import msgpack
import psutil
import pytest
import zmq

from wallprint_protocol import client, connection, messages, wire
from wallprint_protocol.dealer import USER, open_dealer
from wallprint_protocol.dealer_pyzmq import PyzmqDealer
from wallprint_protocol.endpoint import ConnectionInfo, write_connection
from wallprint_protocol.errors import (
    LinkClosed,
    LinkError,
    LinkRefused,
    LinkTimeout,
    ServerTrouble,
    WallprintError,
)
from wallprint_server import transport as transport_module
from wallprint_server.transport import Transport
from wallprint_testing.servers import Picture, wait_until

GATE = b"g" * 64


@pytest.fixture
def tcp_server(start_server):
    return start_server(tcp=True)


@pytest.fixture(params=["ipc", "tcp"])
def any_server(request, start_server):
    return start_server(tcp=request.param == "tcp")


@pytest.fixture
def dealers():
    """Sockets that are closed at the end, whatever happens."""
    made = []

    def make():
        made.append(PyzmqDealer())
        return made[-1]

    yield make
    for dealer in made:
        dealer.close()


def enter(dealer, info, password=None):
    dealer.connect(info.endpoints[0], user=USER, password=password or info.gate, timeout_s=2)
    return dealer


def say(dealer, message) -> None:
    dealer.send(wire.encode(message), timeout_s=2)


def hear(dealer, timeout_s=2.0):
    """The next message that is not a sign of life or news about the server."""
    while True:
        message = wire.decode(dealer.receive(timeout_s=timeout_s), messages.FROM_SERVER)
        if not isinstance(message, (messages.Ping, messages.ServerNews)):
            return message


def hello(**change) -> messages.Hello:
    fields = {
        "id": 1, "proto": (1,), "minor": 0, "nonce": secrets.token_bytes(32), "client": {},
        "caps": (), "max_chunk": 1 << 22,
    }  # fmt: skip
    return messages.Hello(**{**fields, **change})


def log_in(dealer, info) -> messages.Welcome:
    first = hello()
    say(dealer, first)
    challenge = hear(dealer)
    say(dealer, messages.Auth(2, wire.proof(info.key, b"C", challenge.nonce, first.nonce)))
    return hear(dealer)


# -- the gate --------------------------------------------------------------------------------------


def test_wrong_gate_is_refused_and_the_right_one_let_in(any_server, dealers):
    info = any_server.info()
    for password in (b"x", info.gate[:-1], info.gate + b"x", b"\0" * 64):
        with pytest.raises(LinkRefused):
            enter(dealers(), info, password)
    with pytest.raises(LinkRefused):
        dealers().connect(info.endpoints[0], user=b"wpp2", password=info.gate, timeout_s=2)
    assert log_in(enter(dealers(), info), info).limits["chunk"] == 4 << 20


def test_peer_without_mechanism_is_refused(any_server):
    with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
        peer.linger = 0
        peer.reconnect_ivl = -1
        with peer.get_monitor_socket(zmq.EVENT_ALL) as monitor:
            peer.connect(any_server.info().endpoints[0])
            events = set()
            deadline = time.monotonic() + 2
            while time.monotonic() < deadline and zmq.EVENT_DISCONNECTED not in events:
                if monitor.poll(50):
                    events.add(int.from_bytes(monitor.recv_multipart()[0][:2], "little"))
            peer.disable_monitor()
        assert zmq.EVENT_HANDSHAKE_SUCCEEDED not in events
        assert zmq.EVENT_DISCONNECTED in events
    assert any_server.status()["clients"] == 1


@pytest.mark.parametrize("pad", [0, 1, 2])
def test_web_page_achieves_nothing(tcp_server, pad):
    """A crafted POST in several alignments: ZMTP 1.0 would take `P` as a frame length."""
    port = int(tcp_server.info().endpoints[0].rpartition(":")[2])
    body = b"\0" * pad + b"\x0d\0EVIL-MESSAGE" * 40
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        link.settimeout(5)
        try:
            while link.recv(4096):
                pass
        except OSError:
            pass
    assert tcp_server.status()["clients"] == 1
    assert "Traceback" not in tcp_server.log()


def test_half_a_greeting_is_dropped_after_three_seconds(tcp_server):
    port = int(tcp_server.info().endpoints[0].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(b"\xff\0\0\0")
        link.settimeout(6)
        began = time.monotonic()
        while link.recv(100):
            pass
        assert 2 < time.monotonic() - began < 5


def test_flood_before_login_takes_no_memory(tcp_server):
    """Frames marked MORE, of one message that never ends, before the handshake is done."""
    process = psutil.Process(tcp_server.process.pid)
    before = process.memory_info().rss
    port = int(tcp_server.info().endpoints[0].rpartition(":")[2])
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
    sent = 0
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.settimeout(1)
        try:
            link.sendall(greeting)
            frame = b"\x03" + (1 << 20).to_bytes(8, "big") + bytes(1 << 20)
            for _ in range(100):
                link.sendall(frame)
                sent += 1
        except OSError:
            pass
    assert process.memory_info().rss - before < 8 << 20
    assert sent < 100


def test_real_client_gets_in_through_two_hundred_idle_connections_and_a_flood(tcp_server):
    """Strangers that connect and say nothing, or never stop; they are gone after their 3 s."""
    process = psutil.Process(tcp_server.process.pid)
    picture = Picture(20, 20)
    with tcp_server.connect() as connection:
        picture.enhance(connection)  # whatever the first job takes is taken
    memory, descriptors = process.memory_info().rss, process.num_fds()
    port = int(tcp_server.info().endpoints[0].rpartition(":")[2])
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"PLAIN".ljust(20, b"\0") + bytes(32)
    links = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    try:
        flood = links[0]
        flood.settimeout(0.5)
        with contextlib.suppress(OSError):
            flood.sendall(greeting)
            for _ in range(600):
                flood.sendall(b"\x03" + (1 << 20).to_bytes(8, "big") + bytes(1 << 20))
        began = time.monotonic()
        with tcp_server.connect() as connection:
            assert time.monotonic() - began < 3
            picture.enhance(connection)
        assert picture.result == picture.expected()
        assert process.memory_info().rss - memory < 8 << 20
        wait_until(lambda: process.num_fds() <= descriptors + 4, 10, 0.1)
    finally:
        for link in links:
            link.close()


def test_door_stays_shut_when_the_gatekeeper_is_dead(state_dir):
    endpoint = f"ipc://{state_dir}/t.sock"
    with_keeper = Transport(endpoint, GATE, lambda: True)
    with_keeper.self_test()
    with_keeper._zap.close()
    peer = PyzmqDealer()
    try:
        with pytest.raises(LinkError):
            peer.connect(endpoint, user=USER, password=GATE, timeout_s=1)
    finally:
        peer.close()
        with_keeper.close()
        (state_dir / "t.sock").unlink(missing_ok=True)


def test_last_words_are_heard_although_the_server_is_gone(state_dir):
    tested = Transport(f"ipc://{state_dir}/t.sock", GATE, lambda: True)
    gone = threading.Event()

    def serve():
        while True:
            tested.wait(0.01)
            message = tested.receive()
            if message:
                for number in range(5):
                    tested.send(message[0], [b"word %d" % number])
                tested.close()
                gone.set()
                return

    thread = threading.Thread(target=serve)
    thread.start()
    peer = PyzmqDealer()
    peer.connect(f"ipc://{state_dir}/t.sock", user=USER, password=GATE, timeout_s=2)
    peer.send([b"hi"], timeout_s=1)
    gone.wait(5)
    thread.join()
    time.sleep(0.1)  # everything, the end included, is there before the first look ...
    peer._watch(zmq.POLLIN, 0.0)  # ... of a thread that had found nothing and slept too long
    assert [bytes(peer.receive(timeout_s=1)[0]) for _ in range(5)] == [
        b"word %d" % number for number in range(5)
    ]
    with pytest.raises(LinkClosed):
        peer.receive(timeout_s=1)
    with pytest.raises(LinkClosed):
        peer.send([b"hi"], timeout_s=1)
    peer.close()
    (state_dir / "t.sock").unlink(missing_ok=True)


@pytest.mark.parametrize("verdict", [True, False])
def test_self_test_notices_a_wrong_gatekeeper(state_dir, monkeypatch, verdict):
    """One that lets everybody in, one that lets nobody in."""
    monkeypatch.setattr(Transport, "_knows_gate", lambda self, request: verdict)
    monkeypatch.setattr(transport_module, "SELF_TEST_TIMEOUT_S", 1.0)
    tested = Transport(f"ipc://{state_dir}/t.sock", GATE, lambda: True)
    with pytest.raises(ServerTrouble, match="self-test"):
        tested.self_test()
    tested.close()
    (state_dir / "t.sock").unlink(missing_ok=True)


def test_message_without_user_id_is_dropped(state_dir, monkeypatch):
    tested = Transport(f"ipc://{state_dir}/t.sock", GATE, lambda: True)
    received = []

    def serve(until):
        while time.monotonic() < until:
            tested.wait(0.01)
            message = tested.receive()
            if message:
                received.append(bytes(message[1][0]))

    def talk():
        peer = open_dealer()
        peer.connect(tested.endpoint, user=USER, password=GATE, timeout_s=2)
        peer.send([b"hi"], timeout_s=1)
        time.sleep(0.2)
        peer.close()

    for expected in ([b"hi"], [b"hi"]):
        thread = threading.Thread(target=talk)
        thread.start()
        serve(time.monotonic() + 0.5)
        thread.join()
        assert received == expected
        monkeypatch.setattr(transport_module, "_user_id", lambda frame: b"")
    tested.close()
    (state_dir / "t.sock").unlink(missing_ok=True)


def test_client_number_33_stays_outside_until_one_leaves(server, dealers):
    info = server.info()
    inside = []
    for _ in range(32):
        inside.append(enter(dealers(), info))
        log_in(inside[-1], info)
    with pytest.raises(LinkRefused):
        enter(dealers(), info)
    inside[5].close()
    wait_until(lambda: can_enter(info), 2, 0.05)


def can_enter(info) -> bool:
    dealer = open_dealer()
    try:
        enter(dealer, info)
        return True
    except LinkRefused:
        return False
    finally:
        dealer.close()


# -- the login -------------------------------------------------------------------------------------


def test_client_without_the_key_is_refused_and_then_ignored(server, dealers):
    info = server.info()
    dealer = enter(dealers(), info)
    first = hello()
    say(dealer, first)
    challenge = hear(dealer)
    say(dealer, messages.Auth(2, wire.proof(b"k" * 32, b"C", challenge.nonce, first.nonce)))
    assert hear(dealer).code == "E_AUTH"
    say(dealer, messages.Auth(3, wire.proof(info.key, b"C", challenge.nonce, first.nonce)))
    with pytest.raises(LinkTimeout):
        hear(dealer, 0.2)


def test_servers_own_proof_sent_back_is_no_login(server, dealers):
    """Reflection: the sides' proofs differ, and nonces are never taken twice."""
    dealer = enter(dealers(), server.info())
    say(dealer, hello())
    challenge = hear(dealer)
    say(dealer, messages.Auth(2, challenge.proof))
    assert hear(dealer).code == "E_AUTH"


def test_replayed_login_is_refused(server, dealers):
    info = server.info()
    dealer, first = enter(dealers(), info), hello()
    say(dealer, first)
    auth = messages.Auth(2, wire.proof(info.key, b"C", hear(dealer).nonce, first.nonce))
    say(dealer, auth)
    assert isinstance(hear(dealer), messages.Welcome)
    other = enter(dealers(), info)
    say(other, first)
    hear(other)
    say(other, auth)
    assert hear(other).code == "E_AUTH"


@pytest.mark.parametrize(
    "message",
    [
        messages.ServerStop(1),
        messages.Models(1),
        messages.Auth(1, bytes(32)),
        messages.Tile(j=bytes(16), s=0, x=0, y=0, w=1, h=1, n=1, crc=0, payload=b"x"),
        messages.Ping(1),
    ],
)
def test_nothing_is_done_before_the_login(server, dealers, message):
    dealer = enter(dealers(), server.info())
    say(dealer, message)
    assert hear(dealer).code == "E_AUTH"
    assert server.process.poll() is None


def test_versions_that_do_not_meet_are_both_named(server, dealers):
    dealer = enter(dealers(), server.info())
    say(dealer, hello(proto=(2, 3)))
    answer = hear(dealer)
    assert answer.code == "E_VERSION"
    assert answer.detail["server_proto"] == [1]
    assert "0." in answer.detail["server_version"]


def test_login_that_takes_too_long_is_ignored(start_server, dealers):
    server = start_server(login_s=0.2)
    info = server.info()
    dealer, first = enter(dealers(), info), hello()
    say(dealer, first)
    challenge = hear(dealer)
    time.sleep(0.8)
    say(dealer, messages.Auth(2, wire.proof(info.key, b"C", challenge.nonce, first.nonce)))
    with pytest.raises(LinkTimeout):
        hear(dealer, 0.3)


class Impostor:
    """Someone who knows the gate (it was shown to him) but not the key; notes what he is sent."""

    def __init__(self, directory, forge) -> None:
        self.transport = Transport(f"ipc://{directory}/s.sock", GATE, lambda: True)
        self.info = ConnectionInfo.new((self.transport.endpoint,), start_id="", version="0", log="")
        self.info = ConnectionInfo(**{**vars(self.info), "gate": GATE})
        write_connection(directory, self.info)
        self.forge = forge
        self.heard: list[dict] = []
        self.frames = 0
        self.thread = threading.Thread(target=self.run)
        self.going = True
        self.thread.start()

    def run(self) -> None:
        while self.going:
            self.transport.wait(0.01)
            received = self.transport.receive()
            if received is None:
                continue
            peer, frames = received
            header = msgpack.unpackb(frames[0])
            self.heard.append(header)
            self.frames += len(frames)
            if header["t"] == "hello":
                nonce, proof = self.forge(self.info, header["nonce"])
                challenge = messages.Challenge(header["id"], nonce, proof)
                self.transport.send(peer, wire.encode(challenge))

    def stop(self) -> None:
        self.going = False
        self.thread.join()
        self.transport.close()


@pytest.mark.parametrize(
    "forge",
    [
        lambda info, nonce: (b"n" * 32, b"p" * 32),
        lambda info, nonce: (nonce, wire.proof(b"guess" * 6 + b"xx", b"S", nonce, nonce)),
        lambda info, nonce: (b"n" * 32, wire.proof(info.key, b"C", nonce, b"n" * 32)),
        lambda info, nonce: (b"n" * 32, wire.proof(info.key, b"S", b"n" * 32, nonce)),
        lambda info, nonce: (b"n" * 32, wire.proof(info.key, b"S", b"o" * 32, b"n" * 32)),
    ],
    ids=["noise", "guessed key", "client's side", "swapped nonces", "replayed"],
)
def test_client_tells_an_impostor_nothing(state_dir, no_leaks, forge):
    impostor = Impostor(state_dir, forge)
    try:
        with pytest.raises(LinkRefused, match="could not prove"):
            client.connect(state_dir)
        time.sleep(0.1)
        assert {m["t"] for m in impostor.heard} == {"hello"}
        assert impostor.frames == len(impostor.heard)  # headers only, no payload
        sent = repr(impostor.heard)
        assert impostor.info.key.hex() not in sent
    finally:
        impostor.stop()
        (state_dir / "server.json").unlink()
        (state_dir / "s.sock").unlink(missing_ok=True)


# -- after the login -------------------------------------------------------------------------------


def test_unknown_types_are_answered_or_ignored_and_never_fatal(server, dealers):
    info = server.info()
    dealer = enter(dealers(), info)
    log_in(dealer, info)
    for number in range(10):
        dealer.send([msgpack.packb({"t": "job.pause", "id": number})], timeout_s=1)
        answer = hear(dealer)
        assert (answer.code, answer.re) == ("E_UNKNOWN_TYPE", number)
    dealer.send([msgpack.packb({"t": "$new", "id": 1})], timeout_s=1)
    say(dealer, messages.Ping(5))
    assert hear(dealer) == messages.Pong(5)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([b"\xc1"], "E_PROTO"),
        ([msgpack.packb({"t": "ping"})], "E_BAD_FIELD"),
        ([msgpack.packb({"t": "ping", "q": 1}), b""], "E_PROTO"),
        ([msgpack.packb({"t": "ping", "q": 1}), b"", b""], "E_PROTO"),
        ([msgpack.packb({"t": "auth", "id": 1, "proof": bytes(32)})], "E_PROTO"),
        ([bytes(70_000)], "E_PROTO"),
    ],
)
def test_fifth_bad_message_ends_the_peer_and_its_jobs(server, dealers, frames, code):
    info = server.info()
    dealer = enter(dealers(), info)
    log_in(dealer, info)
    picture = Picture(30, 30)
    params = picture.request.options.to_map()
    job = messages.JobOpen(
        id=3, j=os.urandom(16), key=bytes(32), op="enhance", model=params.pop("model"), w=30,
        h=30, out=picture.request.out, fmt=picture.layout, tile=picture.request.source,
        params=params,
    )  # fmt: skip
    say(dealer, messages.JobOpen(**{**vars(job), "key": wire.job_key(job)}))
    assert isinstance(hear(dealer), messages.JobOk)
    assert isinstance(hear(dealer), messages.Credit)
    for number in range(5):
        assert server.status()["jobs"] == {"receiving": 1}, number
        dealer.send(frames, timeout_s=1)
        answer = hear(dealer)
        assert (answer.code, answer.j) == (code, None)
    end = hear(dealer)
    assert (end.code, end.j) == ("E_PROTO", job.j)
    say(dealer, messages.Ping(5))
    with pytest.raises(LinkTimeout):
        hear(dealer, 0.2)
    assert server.status()["jobs"] == {}


def test_oversized_frame_ends_only_its_own_connection(server, dealers):
    info = server.info()
    dealer = enter(dealers(), info)
    log_in(dealer, info)
    dealer.send([b"x", bytes(wire.MAX_MESSAGE_BYTES + 1)], timeout_s=2)
    with pytest.raises(LinkClosed):
        hear(dealer, 2)
    wait_until(lambda: server.status()["clients"] == 1, 2)


def test_fuzz_of_a_logged_in_peer(server, dealers):
    """Random headers, altered real ones, wrong frame counts: only coded errors, server alive."""
    info = server.info()
    random.seed(7)
    job = bytes(16)
    samples = [
        wire.encode(message)[0]
        for message in (
            messages.Ping(1), messages.Models(2), messages.ServerStatus(3),
            messages.JobCommit(4, job, 1), messages.JobCancel(5, job), messages.JobRelease(6, job),
            messages.Credit(job, "down", 2**60),
            messages.Tile(j=job, s=0, x=0, y=0, w=1, h=1, n=1, crc=0, payload=b"x"),
        )
    ]  # fmt: skip
    process = psutil.Process(server.process.pid)
    descriptors, memory = process.num_fds(), process.memory_info().rss
    for _ in range(60):
        dealer = enter(dealers(), info)
        log_in(dealer, info)
        for _ in range(8):
            header = bytearray(random.choice(samples))
            for _ in range(random.randrange(4)):
                header[random.randrange(len(header))] = random.randrange(256)
            if random.random() < 0.3:
                del header[random.randrange(len(header)) :]
            if b"stop" in header:
                continue
            frames = [bytes(header)] + [os.urandom(9)] * random.choice((0, 0, 1, 2))
            dealer.send(frames, timeout_s=1)
        try:
            while True:
                answer = hear(dealer, 0.005)
                if isinstance(answer, messages.Error):
                    assert answer.code != "E_INTERNAL", answer
        except LinkTimeout:
            dealer.close()
    with server.connect() as alive:
        picture = Picture(20, 20)
        picture.enhance(alive)
    assert picture.result == picture.expected()
    wait_until(lambda: server.status()["clients"] == 1, 2)
    assert process.num_fds() <= descriptors + 2
    assert process.memory_info().rss - memory < 8 << 20


def test_ping_works_both_ways(start_server):
    server = start_server(ping_ms=100)
    with server.connect() as link:
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            assert link.receive(0.02) is None
            assert link.responding
        link.request(messages.ServerStatus(link.next_id()), messages.StatusReport)


def test_refused_request_is_not_the_end_of_the_connection(server):
    with server.connect() as link:
        with pytest.raises(WallprintError) as caught:
            link.request(messages.JobCommit(link.next_id(), bytes(16), 1), messages.Ok)
        assert caught.value.code == "E_UNKNOWN_JOB"
        assert link.status()["clients"] == 1


def test_no_message_reaches_a_restarted_server_without_a_login(start_server):
    server = start_server(tcp=True)
    link = server.connect()
    try:
        server.process.kill()
        server.process.wait()
        with pytest.raises(LinkClosed):
            link.status()
        with pytest.raises(LinkClosed):
            link.send(messages.Ping(1))
    finally:
        link.close()
    (server.state_dir / "server.json").unlink()


def test_capabilities_are_those_of_the_document(server, dealers):
    info = server.info()
    welcome = log_in(enter(dealers(), info), info)
    assert set(welcome.caps) == set(connection.CAPABILITIES)
    assert welcome.boot == info.boot
    assert "preview" not in welcome.caps

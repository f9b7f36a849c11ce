"""Both client sockets through one suite, against a ROUTER on libzmq (protocol.md section 6)."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from wallprint_protocol.dealer import LinkClosed, LinkError, LinkProtocol, LinkRefused, LinkTimeout
from wallprint_protocol.dealer_pyzmq import PyzmqDealer
from wallprint_protocol.dealer_zmtp import ZmtpDealer

USER, GATE = b"wpp1", b"open sesame"
MIB = 1 << 20

# echo: every message comes back; "send N": a frame of N bytes; "sink": swallowed and counted.
ROUTER = textwrap.dedent(
    """
    import sys, time, zmq
    from zmq.auth.thread import ThreadAuthenticator
    address, mechanism, ping_ms = sys.argv[1], sys.argv[2], int(sys.argv[3])
    context = zmq.Context()
    guard = ThreadAuthenticator(context)
    guard.start()
    guard.configure_plain(domain="local", passwords={"wpp1": "open sesame"})
    router = context.socket(zmq.ROUTER)
    router.linger, router.sndhwm, router.rcvhwm = 0, 9000, 9000
    if mechanism == "plain":
        router.plain_server, router.zap_domain = True, b"local"
    if ping_ms:
        router.heartbeat_ivl, router.heartbeat_timeout = ping_ms, 10 * ping_ms
    router.bind(address)
    print("bound", flush=True)
    sunk = 0
    block = bytes(1 << 20)
    while True:
        who, *frames = router.recv_multipart()
        order = frames[0].split(b" ")
        if order[0] == b"send":
            router.send_multipart([who, b"x" * int(order[1])])
        elif order[0] == b"parts":
            router.send_multipart([who] + [b"p"] * int(order[1]))
        elif order[0] == b"blocks":
            for number in range(int(order[1])):
                router.send_multipart([who, b"%d" % number, block], copy=False)
        elif order[0] == b"sink":
            sunk += len(frames[1])
        elif order[0] == b"sunk":
            router.send_multipart([who, b"%d" % sunk])
        elif order[0] == b"sleep":
            time.sleep(float(order[1]))
        else:
            router.send_multipart([who, *frames])
    """
)


class Router:
    def __init__(self, address, mechanism="plain", ping_ms=0):
        self.address = address
        command = [sys.executable, "-c", ROUTER, address, mechanism, str(ping_ms)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"bound\n"

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(params=["ipc", "tcp"])
def address(request, tmp_path):
    if request.param == "ipc":
        return f"ipc://{tmp_path}/s"
    return f"tcp://127.0.0.1:{free_port()}"


@pytest.fixture
def start():
    routers = []

    def start(*args, **options):
        routers.append(Router(*args, **options))
        return routers[-1]

    yield start
    for router in routers:
        router.kill()


@pytest.fixture(params=[PyzmqDealer, ZmtpDealer], ids=["pyzmq", "pure"])
def dealer(request):
    made = request.param()
    yield made
    made.close()


def join(dealer, address, password=GATE):
    dealer.connect(address, user=USER, password=password, timeout_s=3.0)


def receive(dealer, timeout_s=5.0):
    return [bytes(frame) for frame in dealer.receive(timeout_s=timeout_s)]


def test_frames_of_every_length_come_back_whole(dealer, address, start):
    start(address)
    join(dealer, address)
    for size in (0, 1, 255, 256, 65_536, 65_537, 4 * MIB):
        payload = random.Random(size).randbytes(size)
        dealer.send([b"echo", payload], timeout_s=5.0)
        assert receive(dealer) == [b"echo", payload], size
    dealer.send([b"one frame"], timeout_s=5.0)
    assert receive(dealer) == [b"one frame"]


def test_large_frame_lands_where_the_placer_says(dealer, address, start):
    start(address)
    join(dealer, address)
    place = bytearray(2 * MIB)
    payload = random.Random(1).randbytes(2 * MIB)
    asked = []

    def into(frames, size):
        asked.append(([bytes(f) for f in frames], size))
        return memoryview(place) if size == len(place) else None

    dealer.send([b"echo", payload], timeout_s=5.0)
    frames = dealer.receive(timeout_s=5.0, into=into)
    assert bytes(place) == payload
    assert bytes(frames[1]) == payload
    assert asked[-1] == ([b"echo"], 2 * MIB)


def test_wrong_gate_is_refused(dealer, address, start):
    start(address)
    with pytest.raises(LinkRefused):
        join(dealer, address, b"wrong")


def test_null_mechanism_is_refused(dealer, address, start):
    start(address, "null")
    with pytest.raises(LinkError):
        join(dealer, address)


def test_nobody_there(dealer, address):
    with pytest.raises((LinkClosed, LinkTimeout)):
        join(dealer, address)


def test_pings_of_the_server_are_answered(dealer, address, start):
    start(address, ping_ms=50)
    join(dealer, address)
    end = time.monotonic() + 1.2  # twice the server's patience
    while time.monotonic() < end:
        with pytest.raises(LinkTimeout):
            dealer.receive(timeout_s=0.1)
    dealer.send([b"still here"], timeout_s=5.0)
    assert receive(dealer) == [b"still here"]


def test_oversize_frame_ends_the_connection(dealer, address, start):
    start(address)
    join(dealer, address)
    dealer.send([b"send %d" % (5 * MIB)], timeout_s=5.0)
    with pytest.raises((LinkProtocol, LinkClosed)):
        receive(dealer)


def test_too_many_frames_end_the_connection(dealer, address, start):
    start(address)
    join(dealer, address)
    dealer.send([b"parts 3"], timeout_s=5.0)
    with pytest.raises((LinkProtocol, LinkClosed)):
        receive(dealer)


def test_end_of_a_killed_server_is_seen_within_a_second(dealer, address, start):
    router = start(address)
    join(dealer, address)
    dealer.send([b"echo"], timeout_s=5.0)
    receive(dealer)
    threading.Timer(0.2, os.kill, (router.process.pid, signal.SIGKILL)).start()
    began = time.monotonic()
    with pytest.raises(LinkClosed):
        dealer.receive(timeout_s=5.0)
    assert time.monotonic() - began < 1.2


def test_a_restarted_server_gets_nothing_without_a_login(dealer, address, start):
    start(address).kill()
    router = start(address)
    join(dealer, address)
    router.kill()
    again = start(address)

    def send_until_it_fails():
        for _ in range(20):
            dealer.send([b"sink", b"secret"], timeout_s=0.5)
            time.sleep(0.05)

    with pytest.raises(LinkError):
        send_until_it_fails()
    other = ZmtpDealer()
    other.connect(again.address, user=USER, password=GATE, timeout_s=3.0)
    other.send([b"sunk"], timeout_s=5.0)
    assert receive(other) == [b"0"]
    other.close()


def test_close_with_unsent_data_is_at_once(dealer, address, start):
    start(address)
    join(dealer, address)
    dealer.send([b"sleep 5"], timeout_s=5.0)
    block = bytes(MIB)
    try:
        for _ in range(64):
            dealer.send([b"sink", block], timeout_s=0.3)
    except LinkTimeout:
        pass
    began = time.monotonic()
    dealer.close()
    assert time.monotonic() - began < 0.5


def test_timeout_loses_no_byte(dealer, address, start):
    start(address)
    join(dealer, address)
    dealer.send([b"blocks 40"], timeout_s=5.0)
    got = []
    end = time.monotonic() + 20
    while len(got) < 40 and time.monotonic() < end:
        try:
            got.append(receive(dealer, timeout_s=0.0))
        except LinkTimeout:
            time.sleep(0.001)
    assert [int(number) for number, _ in got] == list(range(40))
    assert all(block == bytes(MIB) for _, block in got)


def test_400_mb_each_way(dealer, tmp_path, start):
    address = f"ipc://{tmp_path}/s"
    start(address)
    join(dealer, address)
    block, sent, count = bytes(MIB), 0, 381
    while sent < count:  # at most 16 MiB under way, as the protocol's credit has it
        for _ in range(min(16, count - sent)):
            dealer.send([b"sink", block], timeout_s=10.0)
            sent += 1
        dealer.send([b"sunk"], timeout_s=10.0)
        assert receive(dealer, 20.0) == [b"%d" % (sent * MIB)]
    dealer.send([b"blocks %d" % count], timeout_s=5.0)
    for number in range(count):
        frames = dealer.receive(timeout_s=20.0)
        assert bytes(frames[0]) == b"%d" % number
        assert len(frames[1]) == MIB


# -- the pure reader against bytes that libzmq would never send ------------------------------------

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"PLAIN".ljust(20, b"\0") + b"\x01" + bytes(31)
WELCOME = b"\x04\x08\x07WELCOME"
READY = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06ROUTER"
LOGIN = GREETING + WELCOME + READY


def feed(data, *, step=1 << 16, hold_open=False):
    """The dealer's answer to a peer that says `data` and then hangs up."""
    server = socket.create_server(("127.0.0.1", 0))

    def talk():
        peer, _ = server.accept()
        with peer:
            try:
                for at in range(0, len(data), step):
                    peer.sendall(data[at : at + step])
                if not hold_open:
                    peer.shutdown(socket.SHUT_WR)
                while peer.recv(65536):
                    pass
            except OSError:
                pass

    thread = threading.Thread(target=talk)
    thread.start()
    dealer = ZmtpDealer()
    try:
        port = server.getsockname()[1]
        dealer.connect(f"tcp://127.0.0.1:{port}", user=USER, password=GATE, timeout_s=2.0)
        return [bytes(frame) for frame in dealer.receive(timeout_s=1.0)]
    finally:
        dealer.close()
        thread.join()
        server.close()


def test_reader_takes_a_message_byte_by_byte():
    assert feed(LOGIN + b"\x01\x02ab\x00\x01c", step=1) == [b"ab", b"c"]


def test_greeting_of_an_older_zmtp_is_refused():
    with pytest.raises(LinkRefused, match=r"3\.0"):
        feed(GREETING.replace(b"\x7f\x03\x01", b"\x7f\x03\x00") + WELCOME + READY)


@pytest.mark.parametrize("refusal", [b"\x05ERROR\x03400", b"^RROR\x03400"], ids=["rfc", "libzmq"])
def test_both_spellings_of_a_refusal(refusal):
    with pytest.raises(LinkRefused, match="400"):
        feed(GREETING + b"\x04" + bytes([len(refusal)]) + refusal)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"\x08\x01a", "reserved flag"),
        (b"\x05\x01\x00", "command with MORE"),
        (b"\x02" + (1 << 63).to_bytes(8, "big"), "a frame of 8 EiB"),
        (b"\x06" + (1 << 20).to_bytes(8, "big"), "a command of 1 MiB"),
        (b"\x01\x01a" * 3, "three frames"),
        (b"\x01\x01a\x04\x07\x04PING\0\0", "a command inside a message"),
        (b"\x04\x01\x09", "a command without its name"),
    ],
)
def test_broken_rules_are_protocol_errors(bad, why):
    with pytest.raises(LinkProtocol):
        feed(LOGIN + bad, hold_open=True)


def test_random_bytes_give_only_link_errors():
    rng = random.Random(7)
    for _ in range(150):
        data = bytearray(LOGIN + b"\x01\x02ab\x00\x01c")
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        cut = rng.randrange(len(data) + 1)
        with contextlib.suppress(LinkError):
            feed(bytes(data[:cut]))

"""Pairing: one line each way, keys in private files, a changed key is refused."""

from __future__ import annotations

import base64
import json
import re
import stat
import time

import pytest

from wallprint_protocol.errors import BadInput, LinkRefused, WallprintError
from wallprint_server import cli, pairing
from wallprint_server.pairing import AllowList, Pairings, lan_address, parse_networks
from wallprint_testing.lan import pair
from wallprint_testing.servers import private_dir

ADDRESS = "192.168.1.20:47970"


def test_both_know_each_other_afterwards(host_dir, state_dir):
    host = pair(host_dir, state_dir, ADDRESS)
    (client,) = Pairings(host_dir).clients()
    public, secret = Pairings(host_dir).server_keys()
    assert Pairings(state_dir).hosts() == [host]
    assert (host.name, host.address, host.curve.server) == ("studio", ADDRESS, public)
    assert (client.name, client.public, client.key) == ("laptop", host.curve.public, host.key)
    assert Pairings(state_dir).clients() == Pairings(host_dir).hosts() == []
    assert len({public, secret, host.curve.public, host.curve.secret, host.key}) == 5


def test_files_are_private_and_no_secret_is_in_the_answer(host_dir, state_dir):
    line = Pairings(host_dir).invite(ADDRESS, "studio")
    host, answer = Pairings(state_dir).join(line, "")
    Pairings(host_dir).admit(answer, "laptop")
    for directory in (host_dir, state_dir):
        assert stat.S_IMODE((directory / "lan").stat().st_mode) == 0o700
        files = list((directory / "lan").iterdir())
        assert files
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    _, host_secret = Pairings(host_dir).server_keys()
    for text, secrets in (
        (line, [host_secret]),
        (answer, [host_secret, host.curve.secret, host.key]),
    ):
        body = base64.urlsafe_b64decode(text.partition(":")[2] + "===").decode("latin-1")
        assert "public" in body
        assert not any(secret.hex() in body for secret in secrets)


@pytest.mark.parametrize("what", ["folder", "file"])
def test_files_that_others_may_read_are_not_used(host_dir, state_dir, what):
    pair(host_dir, state_dir, ADDRESS)
    open_one = host_dir / "lan" if what == "folder" else host_dir / "lan" / "clients.json"
    open_one.chmod(0o755)
    with pytest.raises(LinkRefused, match="open to other users"):
        Pairings(host_dir).clients()


def test_damaged_file_lets_nobody_in(host_dir, state_dir):
    pair(host_dir, state_dir, ADDRESS)
    (host_dir / "lan" / "clients.json").write_text('[{"name": "laptop"}]')
    with pytest.raises(LinkRefused, match="damaged"):
        Pairings(host_dir).clients()


def test_invitation_is_good_once(host_dir, state_dir):
    line = Pairings(host_dir).invite(ADDRESS, "studio")
    _, answer = Pairings(state_dir).join(line, "")
    Pairings(host_dir).admit(answer, "laptop")
    with pytest.raises(BadInput, match="No invitation is open"):
        Pairings(host_dir).admit(answer, "laptop")


def test_invitation_is_good_for_half_an_hour(host_dir, state_dir, monkeypatch):
    line = Pairings(host_dir).invite(ADDRESS, "studio")
    _, answer = Pairings(state_dir).join(line, "")
    late = time.time() + pairing.INVITATION_S + 1
    monkeypatch.setattr(time, "time", lambda: late)
    with pytest.raises(BadInput, match="half an hour"):
        Pairings(host_dir).admit(answer, "laptop")
    assert Pairings(host_dir).clients() == []


def test_answer_to_another_invitation_is_refused(host_dir, state_dir):
    """Whoever did not see the line cannot make an answer, nor can an old one be used."""
    line = Pairings(host_dir).invite(ADDRESS, "studio")
    _, answer = Pairings(state_dir).join(line, "")
    Pairings(host_dir).invite(ADDRESS, "studio")
    with pytest.raises(BadInput, match="does not answer"):
        Pairings(host_dir).admit(answer, "laptop")
    assert Pairings(host_dir).clients() == []


def test_answer_with_an_exchanged_key_is_refused(host_dir, state_dir):
    """A man in the middle who puts his own key into the client's line."""
    line = Pairings(host_dir).invite(ADDRESS, "studio")
    _, answer = Pairings(state_dir).join(line, "")
    value = pairing._read_line(answer, "wallprint-client:", ("name", "public", "proof"))
    value["public"] = "11" * 32
    with pytest.raises(BadInput, match="does not answer"):
        Pairings(host_dir).admit("wallprint-client:" + pairing._armour(value), "laptop")


@pytest.mark.parametrize("damage", ["cut", "changed", "other", "empty"])
def test_line_that_was_not_copied_whole(host_dir, state_dir, damage):
    line = Pairings(host_dir).invite(ADDRESS, "studio")
    broken = {
        "cut": line[:-5],
        "changed": line[:40] + ("A" if line[40] != "A" else "B") + line[41:],
        "other": "wallprint-host:" + "A" * 80,
        "empty": "wallprint-host:",
    }[damage]
    with pytest.raises(BadInput, match="not whole"):
        Pairings(state_dir).join(broken, "")
    assert Pairings(state_dir).hosts() == []
    wrapped = line[:50] + "\n  " + line[50:]  # as a terminal or a mail breaks it
    assert Pairings(state_dir).join(wrapped, "")[0].name == "studio"


@pytest.mark.parametrize("same", ["name", "address"])
def test_host_with_a_changed_key_is_refused(host_dir, state_dir, same):
    before = pair(host_dir, state_dir, ADDRESS)
    with private_dir() as other:
        where = {"name": ("10.0.0.9:1", "studio"), "address": (ADDRESS, "other")}[same]
        line = Pairings(other).invite(*where)
    with pytest.raises(BadInput, match=r"another key.*--remove studio"):
        Pairings(state_dir).join(line, "")
    assert Pairings(state_dir).hosts() == [before]
    assert Pairings(state_dir).remove("studio")
    assert Pairings(state_dir).join(line, "")[0].curve.server != before.curve.server


def test_client_with_a_changed_key_is_refused(host_dir, state_dir):
    pair(host_dir, state_dir, ADDRESS)
    line = Pairings(host_dir).invite(ADDRESS, "studio")
    with private_dir() as other:
        _, answer = Pairings(other).join(line, "")
    before = Pairings(host_dir).clients()
    with pytest.raises(BadInput, match=r"another key.*--remove laptop"):
        Pairings(host_dir).admit(answer, "laptop")
    assert Pairings(host_dir).clients() == before


def test_pairing_the_same_two_again_replaces_the_address_and_the_login_key(host_dir, state_dir):
    before = pair(host_dir, state_dir, ADDRESS)
    after = pair(host_dir, state_dir, "192.168.1.21:47970")
    assert Pairings(state_dir).hosts() == [after]
    assert after.curve == before.curve
    assert after.key != before.key
    assert [client.key for client in Pairings(host_dir).clients()] == [after.key]


@pytest.mark.parametrize(
    ("text", "host", "or_local"),
    [("local", None, False), ("studio", "studio", False), ("studio,local", "studio", True)],
)
def test_places(host_dir, state_dir, text, host, or_local):
    pair(host_dir, state_dir, ADDRESS)
    place = Pairings(state_dir).place(text)
    assert (place.host and place.host.name, place.or_local) == (host, or_local)


@pytest.mark.parametrize("text", ["other", "", "studio,other", "local,studio"])
def test_places_that_are_none(host_dir, state_dir, text):
    pair(host_dir, state_dir, ADDRESS)
    with pytest.raises(WallprintError, match="studio") as caught:
        Pairings(state_dir).place(text)
    assert caught.value.code == "E_DEVICE"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.168.1.20", "192.168.1.20:47970"),
        ("192.168.1.20:5000", "192.168.1.20:5000"),
        ("fd00::7", "[fd00::7]:47970"),
        ("[fd00::7]:5000", "[fd00::7]:5000"),
    ],
)
def test_addresses(text, address):
    assert lan_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "0.0.0.0", "::", "*", "studio", "192.168.1.20:70000", "1.2.3"]
)
def test_addresses_that_are_none(text):
    with pytest.raises(BadInput, match=r"192\.168\.1\.20"):
        lan_address(text)


def test_allow_list(host_dir, state_dir):
    host = pair(host_dir, state_dir, ADDRESS)
    listed, stranger = host.curve.public, bytes(32)
    for networks, address, inside in (
        (pairing.PRIVATE_NETWORKS, "192.168.1.30", True),
        (pairing.PRIVATE_NETWORKS, "::ffff:192.168.1.30", True),
        (pairing.PRIVATE_NETWORKS, "fe80::1%eth0", True),
        (pairing.PRIVATE_NETWORKS, "203.0.113.7", False),
        (pairing.PRIVATE_NETWORKS, "2001:db8::1", False),
        ("192.168.1.30", "192.168.1.30", True),
        ("192.168.1.30", "192.168.1.31", False),
        ("10.0.0.0/8,192.168.1.30", "10.2.3.4", True),
        (pairing.PRIVATE_NETWORKS, "", False),
    ):
        allowed = AllowList(Pairings(host_dir), networks)
        assert (allowed.refusal(listed, address) == "") == inside, (networks, address)
        assert allowed.refusal(stranger, address) != ""
    with pytest.raises(BadInput, match="lan_allow"):
        parse_networks("192.168.1.0/33")


# -- the command -----------------------------------------------------------------------------------


def run(capsys, monkeypatch, directory, *arguments, code=0):
    monkeypatch.setenv("WALLPRINT_STATE_DIR", str(directory))
    assert cli.main(["pair", *arguments]) == code
    captured = capsys.readouterr()
    return captured.err if code else captured.out


def line_in(text: str) -> str:
    """What a person copies."""
    return re.search(r"wallprint pair (wallprint-\S+)", text)[1]


def test_command_by_copying_one_line_each_way(host_dir, state_dir, capsys, monkeypatch):
    (host_dir / "config.json").write_text('{"lan": "192.168.1.20"}')
    invited = run(capsys, monkeypatch, host_dir, "--name", "studio")
    joined = run(capsys, monkeypatch, state_dir, line_in(invited))
    admitted = run(capsys, monkeypatch, host_dir, line_in(joined), "--name", "laptop")
    assert "laptop may have prints made here" in admitted
    shown = re.search(r"fingerprint ((?:[0-9a-f]{4} ){3}[0-9a-f]{4})", invited)[1]
    assert shown in joined  # the two that a person compares
    listed = json.loads(run(capsys, monkeypatch, state_dir, "--list", "--json"))
    assert [(h["name"], h["address"]) for h in listed["hosts"]] == [("studio", ADDRESS)]
    assert "laptop: has prints made here" in run(capsys, monkeypatch, host_dir, "--list")
    assert "forgotten" in run(capsys, monkeypatch, host_dir, "--remove", "laptop")
    assert "No computer is paired" in run(capsys, monkeypatch, host_dir, "--list")
    assert "laptop" in run(capsys, monkeypatch, host_dir, "--remove", "laptop", code=2)


def test_command_says_that_the_network_is_not_served(state_dir, capsys, monkeypatch):
    said = run(capsys, monkeypatch, state_dir, code=2)
    assert "wallprint serve --lan" in said
    assert not (state_dir / "lan").exists()


@pytest.mark.parametrize("line", ["hello", "https://example.org"])
def test_command_refuses_what_is_no_line(state_dir, capsys, monkeypatch, line):
    assert "copy the whole line" in run(capsys, monkeypatch, state_dir, line, code=2)


@pytest.mark.parametrize("name", ["local", "a b", "../x", "x" * 41, "-x"])
def test_names_that_are_none(host_dir, state_dir, name):
    with pytest.raises(BadInput, match="cannot be a computer's name"):
        Pairings(host_dir).invite(ADDRESS, name)

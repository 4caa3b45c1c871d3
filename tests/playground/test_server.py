"""The server, spoken to through sockets: several visitors, limits, and what a closed connection leaves."""

import contextlib
import gc
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import weakref
from urllib.parse import urlsplit

import pytest
from browsing import wait_for
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import fnn
from fnn.playground import __main__ as command
from fnn.playground import server as serving
from fnn.playground import sessions
from fnn.playground.messages import Visitor
from fnn.playground.notebook import Shown
from fnn.playground.server import STATIC, Server


@pytest.fixture(scope="module")
def server():
    server = Server()
    server.start()
    yield server
    server.stop()


class Client:
    """A page: it sends messages, acknowledges frames and waits for answers."""

    def __init__(self, server, decode, token=None):
        token = server.token if token is None else token
        address = f"ws://127.0.0.1:{server.port}/ws?token={token}"
        self.closing = contextlib.ExitStack()
        self.socket = self.closing.enter_context(connect(address, max_size=None, open_timeout=60, close_timeout=60))
        self.decode, self.frames, self.news = decode, [], []
        self.hello = json.loads(self.socket.recv())

    def send(self, do, **fields):
        self.socket.send(json.dumps({"do": do, **fields}))

    def receive(self, acknowledge=True):
        got = self.socket.recv(120)
        if isinstance(got, str):
            return json.loads(got)
        self.frames.append(self.decode(got))
        if acknowledge and self.frames[-1]["type"] == "frame":
            self.send("ack", frame=self.frames[-1]["frame"])
        return self.frames[-1]

    def ask(self, do, **fields):
        """The answer, whatever frames and news come before it."""
        self.send(do, id=str(len(self.news)), **fields)
        while True:
            got = self.receive()
            if isinstance(got, dict) and ("ok" in got or "error" in got):
                return got
            self.news.append(got)

    def drain(self):
        """Read until the server closes the connection, which it must."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.socket.recv(60)

    def frame(self):
        """The next frame."""
        while not isinstance(got := self.receive(), self.decode):
            self.news.append(got)
        return got


@pytest.fixture
def visit(server, decode):
    clients = []

    def visit(**options):
        clients.append(Client(server, decode, **options))
        return clients[-1]

    yield visit
    for client in clients:
        client.closing.close()


def wait_until(true):
    """Let the server's thread work until something is true, which it must become."""
    for _ in range(6000):
        if true():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not become true")


def test_the_page_is_served_from_the_package(server, tmp_path):
    page = next(STATIC.glob("*"), None) if STATIC.is_dir() else None
    if page is None:
        pytest.skip("the page is not here")
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/{page.name}") as found:
        assert found.read() == page.read_bytes()
        assert "default-src 'self'" in found.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["../server.py", "%2e%2e/server.py", "nothing", "..%2fserver.py"])
def test_nothing_else_is_served(server, path):
    if not STATIC.is_dir():
        pytest.skip("the page is not here")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/{path}")
    assert caught.value.code == 404
    caught.value.close()


@pytest.mark.parametrize("token", ["", "wrong", "ñ"])
def test_a_socket_needs_the_token(server, decode, token):
    with pytest.raises((InvalidStatus, ConnectionClosed)):
        Client(server, decode, token=token)


def test_a_visitor_trains_and_sees_frames(visit, small):
    client = visit()
    assert client.hello["type"] == "hello"
    assert {"limits", "optimizers", "activations", "lessons"} <= client.hello.keys()
    assert client.ask("set", settings=small)["parameters"] == 13
    assert client.frame()["fresh"]
    client.ask("play", epochs_per_frame=3)
    epochs = [client.frame()["epoch"] for _ in range(5)]
    assert epochs == sorted(set(epochs))
    at = client.ask("pause")["epoch"]
    assert client.ask("step", epochs=4)["epoch"] == at + 4
    losses = client.frame()["loss"]
    client.ask("step", epochs=2)
    client.frame()
    assert client.ask("go", epoch=at + 4)["ok"]
    assert client.frame()["loss"] == losses


def test_frames_wait_until_the_page_has_drawn_them(visit, small):
    client = visit()
    client.ask("set", settings=small)
    client.frame()
    client.ask("play")
    first = client.receive(acknowledge=False)
    second = client.receive(acknowledge=False)
    assert second["frame"] == first["frame"] + 1
    # The answer is the next thing that comes, since no third frame may.
    client.send("view", id="view")
    assert client.receive(acknowledge=False)["ok"]


def test_visitors_do_not_disturb_each_other(visit, small):
    """Many at once, each with its own settings: all messages are answered, with the results of one alone."""
    results, expected = {}, {}

    def work(seed):
        client = visit()
        client.ask("set", settings={**small, "seed": seed})
        for _ in range(3):
            assert client.ask("step", epochs=2)["ok"]
            assert client.ask("hyper", values={"learning_rate": 0.1 / (seed + 1)})["ok"]
        client.ask("play")
        for _ in range(3):
            client.frame()
        client.ask("pause")
        client.ask("go", epoch=6)
        client.ask("view")
        results[seed] = client.frames[-1]["loss"]

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(20):
        alone = Visitor()
        alone.answer({"do": "set", "settings": {**small, "seed": seed}})
        for _ in range(3):
            alone.answer({"do": "step", "epochs": 2})
            alone.answer({"do": "hyper", "values": {"learning_rate": 0.1 / (seed + 1)}})
        losses = alone.journey.history[6]
        expected[seed] = {"train": losses.train, "test": losses.test}
    assert results == expected


@pytest.mark.parametrize(
    "text", ["", "[", "null", '{"do": "nothing"}', '{"do": "set", "settings": 7}', b"\x00\x01", '{"id": {}}']
)
def test_a_malformed_message_is_answered_and_the_socket_stays(visit, small, text):
    client = visit()
    client.ask("set", settings=small)
    client.frame()
    client.socket.send(text)
    error = client.receive()["error"]
    assert error["message"]
    assert error["es"]
    assert client.ask("step")["epoch"] == 1


def test_too_large_a_message_closes_the_socket_alone(visit, small):
    client, other = visit(), visit()
    client.socket.send("x" * (sessions.MESSAGE_BYTES + 1))
    with pytest.raises(ConnectionClosed):
        client.socket.recv(60)
    assert other.ask("set", settings=small)["ok"]


def test_too_many_waiting_messages_are_refused(visit, small):
    client = visit()
    client.ask("set", settings=small)
    client.frame()
    count = 4 * sessions.WAITING
    for i in range(count):
        client.send("step", id=i)
    answers = {}
    while len(answers) < count:
        got = client.receive()
        if isinstance(got, dict):
            answers[got["id"]] = got
    refused = [answer for answer in answers.values() if "error" in answer]
    assert all("too many messages" in answer["error"]["message"] for answer in refused)
    assert client.ask("pause")["epoch"] == count - len(refused)


def test_too_many_visitors_are_turned_away(visit, monkeypatch):
    wait_until(lambda: True)
    first = visit()
    monkeypatch.setattr(sessions, "VISITORS", 1)
    second = visit()
    assert "1 visitor is" in second.hello["error"]["message"]
    with pytest.raises(ConnectionClosed):
        second.socket.recv(60)
    monkeypatch.undo()
    assert first.ask("lesson", name="xor")["ok"]


def test_pause_interrupts_long_work(visit, small):
    client = visit()
    client.ask("set", settings=small)
    client.frame()
    client.send("many", id="many", count=2, epochs=500)
    client.receive()
    client.send("pause", id="pause")
    answers = {}
    while len(answers) < 2:
        got = client.receive()
        if isinstance(got, dict) and "type" not in got:
            answers[got["id"]] = got
    assert "interrupted" in answers["many"]["error"]["message"]
    assert answers["pause"]["ok"]


def test_a_closed_socket_frees_its_memory(server, visit, small):
    client = visit()
    client.ask("set", settings=small)
    client.ask("play")
    client.frame()
    (session,) = [one for one in server.app.state.sessions.open if one.visitor.playing]
    gone = weakref.ref(session), weakref.ref(session.visitor), weakref.ref(session.visitor.journey)
    del session
    client.closing.close()

    def freed():
        gc.collect()
        return not any(one() for one in gone)

    wait_until(freed)


def test_a_failure_is_answered_and_logged(visit, small, monkeypatch, caplog):
    client = visit()
    client.ask("set", settings=small)

    def fail(*args):
        raise ZeroDivisionError

    monkeypatch.setattr("fnn.playground.messages.code", fail)
    assert "ZeroDivisionError" in client.ask("code")["error"]["message"]
    assert "a message of the playground failed" in caplog.text
    assert client.ask("step")["ok"]


def test_importing_fnn_imports_no_server():
    code = "import sys, fnn; assert not {'starlette', 'uvicorn', 'websockets', 'fnn.playground'} & set(sys.modules)"
    subprocess.run(
        [sys.executable, "-c", code + "; fnn.playground.show; assert 'starlette' in sys.modules"], check=True
    )


@pytest.mark.parametrize("missing", ["uvicorn", "starlette", "websockets"])
def test_a_missing_extra_ends_in_one_line(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; "
    run = "import runpy; runpy.run_module('fnn.playground', run_name='__main__', alter_sys=True)"
    message = f'fnn.playground needs {missing}: pip install "fnn[playground]"'
    found = subprocess.run([sys.executable, "-c", code + run, "--no-browser"], capture_output=True, text=True)
    assert (found.returncode, found.stdout, found.stderr) == (1, "", f"{message}\n")
    found = subprocess.run(
        [sys.executable, "-c", f"{code}import fnn; fnn.playground.show"], capture_output=True, text=True
    )
    assert found.stderr.endswith(f"ImportError: {message}\n")


def test_a_port_in_use_is_said_before_any_address(capsys):
    first = Server()
    with pytest.raises(SystemExit) as caught:
        command.main(["--no-browser", "--port", str(first.port)])
    first.stop()
    assert caught.value.code == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"cannot listen on 127.0.0.1, port {first.port}: ")
    assert printed.err.count("\n") == 1
    with pytest.raises(SystemExit):
        command.main(["--port", "70000"])
    assert "--port" in capsys.readouterr().err


def test_the_socket_listens_before_the_server_runs():
    server = Server()
    with socket.create_connection(("127.0.0.1", server.port)):
        pass
    server.stop()


def answer(server, *lines):
    """What the server answers to a request written by hand; empty if it closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode(errors="replace")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("127.0.0.1:{port}", 200), ("localhost:{port}", 200), ("[::1]:{port}", 200), ("192.168.0.7", 200)),
        *(("localhost:8888", 200), ("own.example", 200), ("OWN.example.:80", 200), ("a.localhost", 200)),
        *(("evil.example:{port}", 403), ("localhost.evil.example", 403), ("127.0.0.1.evil.example", 403)),
        *(("", 403), ("[::1", 403), ("evil.example@127.0.0.1.nip.example", 403)),
    ],
)
def test_only_names_of_this_server_are_served(host, status):
    """A page whose name points at this machine must not read anything here."""
    server = Server(names=["own.example"])
    server.start()
    try:
        found = answer(
            server, "GET /index.html HTTP/1.1", f"Host: {host.format(port=server.port)}", "Connection: close"
        )
    finally:
        server.stop()
    assert found.split()[1] == str(status)
    assert ("<html" in found) == (status == 200)


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null", "http://localhost:{port}"])
def test_a_socket_of_another_site_is_refused_even_with_the_token(server, origin):
    address = f"ws://127.0.0.1:{server.port}/ws?token={server.token}"
    with pytest.raises(InvalidStatus):
        connect(address, additional_headers={"Origin": origin.format(port=server.port)}, open_timeout=60)
    with connect(address, additional_headers={"Origin": f"http://127.0.0.1:{server.port}"}, open_timeout=60) as own:
        assert json.loads(own.recv(60))["type"] == "hello"


def test_a_connection_that_asks_for_nothing_is_closed(monkeypatch):
    monkeypatch.setattr(serving, "SILENCE", 0.05)
    server = Server()
    server.start()
    try:
        for sent in (b"", b"GET / HT"):
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as silent:
                silent.sendall(sent)
                assert silent.recv(100) == b""
    finally:
        server.stop()


def test_connections_are_bounded(monkeypatch):
    monkeypatch.setattr(serving, "CONNECTIONS", 3)
    server = Server()
    server.start()
    try:
        with contextlib.ExitStack() as stack:
            connections = [
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60)) for _ in range(4)
            ]
            assert connections[3].recv(100) == b""
        wait_until(lambda: not server._server.server_state.connections)
        assert " 200 " in answer(server, "GET /index.html HTTP/1.1", "Host: localhost", "Connection: close")
    finally:
        server.stop()


def test_who_has_been_idle_longest_makes_room(visit, small, monkeypatch):
    first, second = visit(), visit()
    for client in (first, second):
        assert client.ask("set", settings=small)["ok"]
    monkeypatch.setattr(sessions, "VISITORS", 2)
    assert "2 visitors are" in visit().hello["error"]["message"]
    monkeypatch.setattr(sessions, "WAITED_FOR", 0.0)
    assert visit().hello["type"] == "hello"
    first.drain()
    assert second.ask("step")["ok"]


def test_a_page_that_plays_in_the_background_makes_room(visit, small, monkeypatch):
    client = visit()
    client.ask("set", settings=small)
    client.ask("play")  # and acknowledges no frame, as a hidden page
    monkeypatch.setattr(sessions, "VISITORS", 1)
    assert "1 visitor is" in visit().hello["error"]["message"]
    monkeypatch.setattr(sessions, "WAITED_FOR", 0.0)
    assert visit().hello["type"] == "hello"


def test_an_origin_behind_a_proxy_is_ours_if_its_name_was_given():
    hosts = serving.Hosts(["127.0.0.1", "localhost", "Play.Example.org"])
    assert hosts.same_site("https://play.example.org", "127.0.0.1:8000")
    assert not hosts.same_site("https://evil.example", "127.0.0.1:8000")
    assert not hosts.same_site("https://localhost:1", "127.0.0.1:8000")
    assert not hosts.same_site("https://127.0.0.1:1", "127.0.0.1:8000")
    assert not hosts.same_site("http://[", "127.0.0.1:8000")


def test_an_idle_visitor_is_sent_away_in_order(visit, small, monkeypatch, caplog):
    monkeypatch.setattr(sessions, "IDLE_SECONDS", 0.05)
    client = visit()
    with pytest.raises(ConnectionClosed) as caught:
        client.socket.recv(60)
    assert caught.value.rcvd.code == 1000
    assert not caplog.records


def test_a_notebook_shows_it_in_a_frame():
    shown = fnn.playground.show("xor", height=500)
    assert isinstance(shown, Shown)
    assert "lesson=xor" in shown.address
    assert "height:500px" in shown._repr_html_()
    assert fnn.playground.show().address.split("/?")[0] == shown.address.split("/?")[0]
    with pytest.raises(fnn.InputError, match="lesson"):
        fnn.playground.show("nothing")
    with pytest.raises(fnn.InputError, match="height"):
        fnn.playground.show(height=0)


def test_the_command_prints_its_address(monkeypatch, capsys):
    opened, served = [], []
    monkeypatch.setattr(command.webbrowser, "open", opened.append)
    monkeypatch.setattr(Server, "run", lambda self: served.append(self))
    command.main(["--no-browser", "--lesson", "xor", "--token", "secret"])
    assert "/?token=secret&lesson=xor" in capsys.readouterr().out
    served[0].stop()
    with pytest.raises(SystemExit):
        command.main(["--lesson", "nothing"])
    assert "nothing" in capsys.readouterr().err


@pytest.mark.parametrize("token", ["", "a&b", "a b"])
def test_the_command_refuses_a_token_that_does_not_fit_into_an_address(token, capsys):
    with pytest.raises(SystemExit):
        command.main(["--no-browser", "--token", token])
    assert "--token" in capsys.readouterr().err


def test_ctrl_c_ends_without_a_traceback():
    # A shell lets what it starts in the background ignore Ctrl-C, and all that this starts in turn.
    heed = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    run = heed + "runpy.run_module('fnn.playground', run_name='__main__', alter_sys=True)"
    command = [sys.executable, "-c", run, "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            address = urlsplit(re.search(r"http://\S+", server.stdout.readline())[0])
            wait_for(address)
            server.send_signal(signal.SIGINT)
            assert server.communicate(timeout=60)[0] == ""
        finally:
            server.kill()  # or leaving the block would wait for it
    assert server.returncode == 0

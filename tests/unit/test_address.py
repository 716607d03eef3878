"""The address of a Ray is looked at before Ray is asked, which would wait for minutes."""

import socket
import socketserver
import threading

import pytest

from raytagger.errors import CapacityError, SettingsError
from raytagger.settings import ClusterSettings
from raytagger.stream import address as addresses
from raytagger.stream.address import check_address
from raytagger.stream.cluster import connected


@pytest.fixture
def listener():
    """A socket that takes calls and never answers."""
    with socket.socket() as taking:
        taking.bind(("127.0.0.1", 0))
        taking.listen()
        yield taking


class Http1(socketserver.StreamRequestHandler):
    """A web server."""

    def handle(self):
        self.rfile.read(24)  # the preface of HTTP/2
        self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


class Http2(socketserver.StreamRequestHandler):
    """A web server or proxy that speaks HTTP/2: 404 to every request."""

    def handle(self):
        self.rfile.read(24)
        self.wfile.write(b"\0\0\0\4\0\0\0\0\0")  # its settings: none
        while len(head := self.rfile.read(9)) == 9:
            length, kind, stream = int.from_bytes(head[:3]), head[3], head[5:]
            self.rfile.read(length)
            if kind == 1:  # headers
                self.wfile.write(b"\0\0\1\1\5" + stream + b"\x8d")  # the end of the stream; :status 404


@pytest.fixture(params=[Http1, Http2])
def stranger(request):
    """The address of a server that answers and is no Ray."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), request.param) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def connect(address):
    with connected(ClusterSettings(address=address)):
        pass


@pytest.mark.parametrize(
    "address",
    ["abc", "ray://", "ray://host", "1.2.3.4", "host:", "host:port", "host:0", "host:70000", ":6379", "a b:1"],
)
def test_nonsense_is_refused_without_a_call(address):
    with pytest.raises(SettingsError, match=r"no address of a Ray; got .*host:port"):
        connect(address)


def test_the_address_of_the_jobs_api_is_named_as_such():
    with pytest.raises(SettingsError, match="ray job submit"):
        connect("http://127.0.0.1:8265")


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_who_takes_the_call_and_does_not_answer_is_named(listener, scheme, monkeypatch):
    monkeypatch.setattr(addresses, "ANSWERS_WITHIN_S", 0.2)
    address = f"{scheme}127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(CapacityError, match=f"no Ray answers at {address}: it takes the call and does not answer"):
        connect(address)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_who_answers_and_is_no_ray_is_named(stranger, scheme):
    with pytest.raises(
        CapacityError, match=f"no Ray answers at {scheme}{stranger}: it takes the call and does not"
    ):
        check_address(scheme + stranger)


def test_nobody_there_is_named_at_once(listener):
    port = listener.getsockname()[1]
    listener.close()
    with pytest.raises(CapacityError, match=f"no Ray answers at 127.0.0.1:{port}: .*refused"):
        connect(f"127.0.0.1:{port}")


def test_the_environment_names_an_address_too(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "abc")
    with pytest.raises(SettingsError, match="got 'abc'"):
        connect("")

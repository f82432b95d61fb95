"""Rendezvous of workers that are threads of this process."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest

from trainlib.cli.distributed.connection import Connection, split_address
from trainlib.cli.distributed.handshake import Greeting, send_greeting
from trainlib.cli.distributed.rendezvous import Deadline, _join, rendezvous
from trainlib.cli.errors import WorkerLostError
from trainlib.cli.launch_local import free_ports
from trainlib.training.cluster import Cluster


def local_addresses(count):
    """Addresses of so many workers on this machine."""
    return tuple(f"127.0.0.1:{port}" for port in free_ports(count))


def in_threads(*functions):
    """Call functions at the same time, and wait for them."""
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.fixture
def gather():
    """`gather([settings, ...])`: what `rendezvous` returns to, or raises on, each worker."""

    outcomes = []

    def run(settings, seconds=20.0, delay=0.0, check=lambda: None):
        addresses = local_addresses(len(settings))
        outcomes.extend([None] * len(settings))

        def worker(index):
            time.sleep(delay * index)
            cluster = Cluster(addresses, index)
            try:
                outcomes[index] = rendezvous(cluster, settings[index], seconds, check)
            except Exception as error:
                outcomes[index] = error

        in_threads(*(lambda k=k: worker(k) for k in range(len(settings))))
        return outcomes

    yield run
    for outcome in outcomes:
        for connection in outcome.values() if isinstance(outcome, dict) else ():
            connection.close()


def test_late_workers_are_waited_for(gather):
    outcomes = gather([{}, {}, {}], delay=0.4)
    assert [sorted(connections) for connections in outcomes] == [[1, 2], [0], [0]]


def test_a_worker_that_is_too_late_is_named_to_the_others(gather):
    outcomes = gather([{}, {}, {}], seconds=0.5, delay=0.4)
    assert all(isinstance(error, WorkerLostError) for error in outcomes)
    assert all(str(error).startswith("worker 2 (") for error in outcomes[:2])


def test_an_error_of_the_first_workers_check_is_raised_on_all(gather):
    def check():
        raise ValueError("run_dir a: exists already")

    outcomes = gather([{}, {}], check=check)
    assert [str(error) for error in outcomes] == ["run_dir a: exists already"] * 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (({"seed": "--seed=1"}, {}), "worker 1 has no --seed, worker 0 --seed=1: all workers"),
        (({}, {"seed": "--seed=1"}), "worker 1 has --seed=1, worker 0 no --seed: all workers"),
    ],
)
def test_settings_that_differ_are_named_to_all(settings, message, gather):
    outcomes = gather(settings)
    assert all(isinstance(error, ValueError) for error in outcomes)
    assert all(str(error).startswith(message) for error in outcomes)


def test_clusters_that_differ_are_refused():
    *addresses, other = local_addresses(3)
    errors = []

    def worker(index, known):
        with pytest.raises(ValueError, match="TF_CONFIG of worker 1 has the cluster") as error:
            rendezvous(Cluster(tuple(known), index), {}, 10.0, lambda: None)
        errors.append(str(error.value))

    in_threads(lambda: worker(0, addresses), lambda: worker(1, (addresses[0], other)))
    assert len(errors) == 2 and errors[0] == errors[1]


SECRET = b"0123456789abcdef"


def send_lines(*lines):
    """Return a stranger that sends these lines."""

    def stranger(connection):
        for line in lines:
            connection.sendall(line + b"\n")

    return stranger


def send_slowly(connection):
    """Send a byte now and then, for ever."""
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


def guess(connection):
    """Greet as worker 1, with a proof by another secret."""
    own = Greeting(["127.0.0.1:1", "127.0.0.1:2"], 1, {})
    connection.settimeout(5)
    assert not send_greeting(Connection(connection), own, b"another secret")
    for index in (1, True, 10**9, "1", [1]):
        text = json.dumps([own.cluster, index, {}])
        proof = "0" * 64 if index == 1 else index
        connection.sendall(json.dumps({"greeting": text, "proof": proof}).encode() + b"\n")


STRANGERS = {
    "HTTP": send_lines(b"GET / HTTP/1.1"),
    "deep JSON": send_lines(b"[" * 100_000),
    "a list": send_lines(b"[1, 2]"),
    "a nonce of another type": send_lines(b'{"nonce": 1}'),
    "a long line": send_lines(b"x" * 2**21),
    "silence": lambda connection: time.sleep(30),
    "a byte now and then": send_slowly,
    "another secret": guess,
}


@pytest.mark.parametrize("number", [1, pytest.param(400, marks=pytest.mark.soak)])
@pytest.mark.parametrize("stranger", STRANGERS)
def test_strangers_neither_delay_nor_end_nor_join_the_run(stranger, number):
    addresses, started = local_addresses(2), threading.Event()
    connected = []

    def visit():
        try:
            with socket.create_connection(split_address(addresses[0]), 10) as connection:
                connected.append(1)
                STRANGERS[stranger](connection)
        except OSError:
            pass  # the first worker closed the connection

    def arrive():
        while not started.is_set():
            time.sleep(0.01)
        time.sleep(0.1)
        for _ in range(number):
            threading.Thread(target=visit, daemon=True).start()
        while len(connected) < min(number, 200):
            time.sleep(0.01)

    def first():
        started.set()
        found.append(rendezvous(Cluster(addresses, 0), {}, 30.0, lambda: None, SECRET))

    def second():
        began = time.monotonic()
        found.append(rendezvous(Cluster(addresses, 1), {}, 30.0, lambda: None, SECRET))
        seconds.append(time.monotonic() - began)

    found, seconds = [], []
    gathering = threading.Thread(target=first)
    gathering.start()
    arrive()
    assert gathering.is_alive()  # none of them has ended it
    in_threads(second)
    gathering.join(30)
    assert sorted(list(connections) for connections in found) == [[0], [1]]
    assert seconds[0] < 4  # below the seconds that a stranger has to say something
    for connections in found:
        for connection in connections.values():
            connection.close()


def test_a_false_first_worker_is_told_nothing_and_believed_in_nothing():
    addresses = local_addresses(2)
    heard = []

    def impostor():
        with socket.create_server(split_address(addresses[0])) as server:
            connection = Connection(server.accept()[0])
            heard.append(connection.receive(5))
            connection.send({"nonce": "0" * 64, "proof": "0" * 64})
            connection.send({"begin": True})
            heard.append(connection.receive(0.3))
            connection.close()

    def worker():
        with pytest.raises(WorkerLostError, match="does not know the secret of this worker"):
            rendezvous(Cluster(addresses, 1), {"seed": "--seed=1"}, 1.0, lambda: None, SECRET)

    in_threads(impostor, worker)
    assert [sorted(message or ()) for message in heard] == [["nonce"], []]


def test_a_second_worker_of_a_number_is_refused_while_the_first_is_there():
    addresses = local_addresses(3)
    found, errors = [], []

    def late(index, seconds):
        time.sleep(seconds)
        try:
            found.append(rendezvous(Cluster(addresses, index), {}, 10.0, lambda: None, SECRET))
        except ValueError as error:
            errors.append(str(error))

    def imitator():
        time.sleep(0.4)
        own = Greeting(list(addresses), 1, {})
        with pytest.raises(ValueError, match="worker 1 is connected already"):
            _join(own, Deadline.after(5), SECRET)

    in_threads(lambda: late(0, 0), lambda: late(1, 0), imitator, lambda: late(2, 0.8))
    assert not errors and len(found) == 3
    for connections in found:
        for connection in connections.values():
            connection.close()


def test_a_port_in_use_and_a_host_elsewhere_are_named():
    (address,) = local_addresses(1)
    with socket.create_server(split_address(address)):
        with pytest.raises(ValueError, match=rf"worker 1 of TF_CONFIG \({address}\): .*in use"):
            rendezvous(Cluster((address, address), 1), {}, 1.0, lambda: None)
    with pytest.raises(ValueError, match="cannot listen there"):
        rendezvous(Cluster(("192.0.2.1:1234", address), 0), {}, 1.0, lambda: None)


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_workers_meet_over_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
            port = server.getsockname()[1]
    except OSError:
        pytest.skip("the loopback interface has no IPv6")
    addresses, found = (f"[::1]:{port}", *local_addresses(1)), []
    in_threads(
        *(
            lambda k=k: found.append(rendezvous(Cluster(addresses, k), {}, 10.0, lambda: None))
            for k in (0, 1)
        )
    )
    assert sorted(list(connections) for connections in found) == [[0], [1]]
    for connections in found:
        for connection in connections.values():
            connection.close()


@pytest.mark.parametrize(
    ("address", "parts"),
    [("a.b:80", ("a.b", 80)), ("[::1]:2222", ("::1", 2222)), ("10.0.0.1:1", ("10.0.0.1", 1))],
)
def test_an_address_is_a_host_and_a_port(address, parts):
    assert split_address(address) == parts

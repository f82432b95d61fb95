"""Rendezvous of workers that are threads of this process."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from trainlib.cli.distributed.connection import split_address
from trainlib.cli.distributed.rendezvous import rendezvous
from trainlib.cli.exit_status import WorkerLostError
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
    addresses = local_addresses(2)
    errors = []

    def worker(index, known):
        with pytest.raises(ValueError, match="TF_CONFIG of worker 1 has the cluster") as error:
            rendezvous(Cluster(known, index), {}, 10.0, lambda: None)
        errors.append(str(error.value))

    in_threads(lambda: worker(0, addresses), lambda: worker(1, (addresses[0], "10.0.0.1:1")))
    assert len(errors) == 2 and errors[0] == errors[1]


def test_a_connection_that_is_not_a_worker_is_ignored():
    addresses = local_addresses(2)

    def stranger():
        for _ in range(100):
            try:
                with socket.create_connection(split_address(addresses[0])) as connection:
                    connection.sendall(b"GET / HTTP/1.1\n")
                return
            except OSError:
                time.sleep(0.02)

    def worker():
        time.sleep(0.3)
        rendezvous(Cluster(addresses, 1), {}, 10.0, lambda: None)[0].close()

    found = []
    in_threads(
        stranger,
        worker,
        lambda: found.append(rendezvous(Cluster(addresses, 0), {}, 10.0, lambda: None)),
    )
    (connections,) = found
    assert list(connections) == [1]
    connections[1].close()


@pytest.mark.parametrize(
    ("address", "parts"),
    [("a.b:80", ("a.b", 80)), ("[::1]:2222", ("::1", 2222)), ("10.0.0.1:1", ("10.0.0.1", 1))],
)
def test_an_address_is_a_host_and_a_port(address, parts):
    assert split_address(address) == parts

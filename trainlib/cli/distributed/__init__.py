"""Runs of several processes on one or many machines.

rendezvous: the workers connect to the chief, which compares their settings.
handshake: two workers authenticate each other.
secret: the secret that the workers share, and proofs that the other end knows it.
connection: lines of JSON over a socket between two workers.
liveness: detects that another worker is lost, and ends this one.
watchdog: ends the process if a block of code does not finish in time.
session: the rendezvous, the liveness checks and the exit of a worker.
"""

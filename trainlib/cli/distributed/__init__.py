"""Runs of several processes on one or many machines.

rendezvous: the workers connect to the first one and compare their settings before TensorFlow.
secret: what the workers share, and proofs that the other end knows it.
connection: lines of JSON over a socket between two workers.
liveness: notices that another worker is lost, and ends this one.
session: rendezvous before the run of a worker, liveness during it, exit after it.
"""

"""Runs of several processes on one or many machines.

rendezvous: the workers connect to the first one and compare their settings before TensorFlow.
connection: lines of JSON over a socket between two workers.
liveness: notices that another worker is lost, and ends this one.
session: what a worker does around its run: rendezvous, silence, liveness, exit.
"""

"""Verification: compare the functions of trainlib with Keras, PyTorch and Optax, number by number.

case: an optimizer or another pure function in one form, and its peers.
compare: run a case and its peers, and measure the error.
function_cases: the cases of schedules, monitors, regularizers, constraints, clipping, losses and
    metrics.
optimizer_cases: the cases of optimizers.
peers: run the optimizers of the peer libraries.
peer_process: run PyTorch and Optax in separate processes.
problem: the test problem of the optimizers.
report: print the results as a table.
trajectory: run an optimizer of trainlib.
"""

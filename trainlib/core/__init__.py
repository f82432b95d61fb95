"""The base of all other packages: pure functions of tensors and arguments.

types: `Optimizer`, `apply_updates`, and the names of types.
tree: structures of tensors: dtypes, mapping over leaves, paths, masks.
norms: Euclidean norms that do not overflow.
finite: tests for infinities and NaNs.
graph: the tensors from which a symbolic tensor is computed.
random: random numbers that are a function of a key.
checks: checks of arguments.
conventions: the defaults of a function in different libraries.
hyperparameters: the declarations of all hyperparameters.
"""

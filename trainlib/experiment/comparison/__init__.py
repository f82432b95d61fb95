"""Comparison of configurations over several seeds.

Modules:
    options: `CompareConfig`, how contenders are tuned, ranked and tested.
    variants: `vary`, the contenders that a text makes of one configuration.
    checks: which configurations can be compared.
    runs: one run of a contender, and the file that keeps them.
    folder: the folder of a comparison.
    compare: `compare`.
"""

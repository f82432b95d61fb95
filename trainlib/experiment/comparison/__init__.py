"""Comparison of configurations over several seeds.

options: `CompareConfig`, how contenders are tuned, ranked and tested.
variants: `vary`, the contenders that vary some settings of one configuration.
checks: checks that configurations can be compared.
runs: one run of a contender, and the file of the finished runs.
folder: the folder of a comparison.
running: a comparison in progress.
compare: `compare`.
"""

"""Search for the best settings of an experiment.

Modules:
    space: which settings are varied, in which ranges; to and from text.
    settings: the configurations that a space makes of one configuration.
    options: the options of a search.
    data: the data of trials, loaded once, and split into folds.
    candidate: one trial.
    study: Optuna: how values are chosen, trials ended early, and results stored.
    loop: the trials are asked for, run in processes, and told.
    folder: the folder of a search.
    tune: `tl.tune`.
"""

"""Search for the best settings of an experiment.

Modules:
    space: which settings are varied, in which ranges; to and from text.
    settings: the configurations that a space makes of one configuration.
    options: the options of a search.
    data: the data of trials, loaded once, and split into folds.
    candidate: one trial.
    storage: where Optuna stores a study.
    samplers: how values are chosen.
    study: the study of a search: its trials, and which of them end early.
    loop: the trials are asked for, run in processes, and reported.
    folder: the folder of a search.
    result: the result of a search, and how far it is.
    running: a search that runs.
    tune: `tl.tune`.
"""

"""Search for the best settings of an experiment.

space: the settings that a search varies, and their ranges.
space_text: the parser of search spaces.
settings: the configurations of trials, made of one configuration and a space.
checks: the checks of a search: its values are allowed, and its trials can be compared.
options: the options of a search.
data: the data of trials, loaded once, and split into folds.
candidate: one trial.
storage: the database in which Optuna stores a study.
samplers: the samplers, which choose the values of trials.
study: the study of a search: its trials, and which of them are pruned.
loop: asks for trials, runs them in processes, and reports their results.
folder: the folder of a search.
result: the result and the progress of a search.
running: a search in progress.
tune: `tl.tune`.
"""

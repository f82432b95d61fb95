"""The commands, one module each, and what they share: parse, call the library, print, exit.

train, evaluate, predict, lr_find, report, verify, launch_local: the commands.
flags: the flags of an experiment, generated from its configuration and parsed into it.
flag_types: flags by type.
help: help texts.
app: running a command: flags, --help, errors.
exit_status: exit statuses and the errors that stand for them.
signals: SIGINT and SIGTERM during `train`.
broken_pipe: output that nobody reads.
lazy_import: modules that are imported when they are first used.
distributed: several workers of one run.
"""

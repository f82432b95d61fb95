"""The commands, one module each: parse flags, call the library, print, exit.

train, evaluate, predict, export_model, lr_find, tune, compare, report, verify, launch_local, list,
completion: the commands.
main: `trainlib`, all commands under one name.
commands: the table of the commands.
folds: the flag --folds of `train`.
verify_peer: the process in which `verify` runs PyTorch or Optax.
flags: the flags of an experiment, generated from its configuration and parsed into it.
flag_types: flags by type.
help: help texts.
app: runs a command: parses its flags, answers --help, prints errors.
config_file: the flag --config.
output: what is printed: results on stdout, everything else on stderr.
progress: a line and a bar for commands that train many models.
version: the versions that --version shows.
exit_status: the exit statuses.
errors: the errors of the commands, with their statuses and messages.
process_exit: ends the process.
signals: SIGINT and SIGTERM.
start: SIGINT and SIGTERM while a command is imported.
broken_pipe: commands whose stdout or stderr is closed early.
lazy_import: modules imported at their first use.
distributed: several workers of one run.
"""

import trainlib.cli.start  # noqa: F401

"""Pure state machines that follow a result: plateau and early stopping."""

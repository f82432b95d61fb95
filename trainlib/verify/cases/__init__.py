"""All that is compared: a file of cases for each file of `trainlib.optimizers`."""

from trainlib.verify.cases import adam

CASES = [*adam.CASES]

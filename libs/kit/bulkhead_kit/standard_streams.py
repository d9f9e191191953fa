"""Standard input, output and error."""

import os


def open_missing_streams() -> None:
    """A process that was started without standard streams would give their numbers to the next socket it opens.

    What is written to them, by us or by a library in C, would then be sent to a client.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is this one, as those below it are open.
            os.open(os.devnull, os.O_RDWR)

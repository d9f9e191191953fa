"""What keeps a process from starting. Alone here: `program` knows it before anything else of the kit is loaded."""


class StartError(Exception):
    """For a person to read: what is wrong and how to mend it."""


class AddressError(StartError):
    """The service cannot listen where it should; the text says why and what to do."""

"""What went wrong on this machine, and what its user can do about it."""


class MendableError(Exception):
    def __init__(self, what: str, mend: str) -> None:
        super().__init__(f"{what} To mend it: {mend}")
        self.what = what
        self.mend = mend

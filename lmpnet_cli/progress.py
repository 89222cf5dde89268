"""What a long run tells while it works. The package calls these three; `console.py` draws them."""


class Progress:
    """Says nothing: the default of the Python functions, and the base of what the command line shows."""

    def start(self, task: str, total: int, unit: str = "images") -> None:
        """A stage of so many units begins; it replaces the one before."""

    def advance(self, count: int, note: str = "") -> None:
        """So many units more are done; `note` holds the latest figures."""

    def warn(self, message: str) -> None:
        """Something to know, such as a picture that was skipped."""

    def tell(self, message: str) -> None:
        """Something good to know before a long wait."""

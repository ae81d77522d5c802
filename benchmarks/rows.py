"""One line of the validation table: what was asked for, within what, and what we have."""

from typing import NamedTuple


class Row(NamedTuple):
    """One number.

    Attributes
    ----------
    test : int
        Number of the check.
    what : str
        What it is.
    asked : tuple of float, str or None
        (value, tolerance), a bound such as ``"<= 0.01"``, or None for a number that is only told.
    ours : float
        What we have.
    """

    test: int
    what: str
    asked: tuple[float, float] | str | None
    ours: float

    @property
    def good(self) -> bool | None:
        """Whether it is within what was asked for; None where nothing was."""
        if self.asked is None:
            return None
        if isinstance(self.asked, tuple):
            return bool(abs(self.ours - self.asked[0]) <= self.asked[1])
        sign, bound = self.asked.split()
        bound = float(bound)
        return {
            "<": self.ours < bound,
            "<=": self.ours <= bound,
            ">": self.ours > bound,
            ">=": self.ours >= bound,
        }[sign]

    def cells(self) -> list[str]:
        """Cells of its line in a table."""
        if isinstance(self.asked, tuple):
            asked = f"{self.asked[0]:.6g} ± {self.asked[1]:.3g}"
        else:
            asked = self.asked or ""
        good = {True: "yes", False: "**no**", None: ""}[self.good]
        return [
            str(self.test),
            self.what,
            asked,
            f"{self.ours:.4g}" if abs(self.ours) < 1e4 else f"{self.ours:.0f}",
            good,
        ]


def table(rows: list[Row]) -> str:
    """Markdown table of rows."""
    lines = [["check", "quantity", "asked for", "ours", "within"], ["---"] * 5]
    lines += [row.cells() for row in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)

"""A budget that is never passed, even with many requests in flight: money is reserved before asking."""

from decimal import Decimal

PORTION = 16  # asks' worth of money granted at once: what a crash can cost, and how rarely it is put on record


class Ledger:
    """In the worker's memory. What it spends was granted before, on record: so a killed worker is accounted for."""

    def __init__(self, budget: Decimal | None, granted: Decimal, written_off: Decimal) -> None:
        self.limit = None if budget is None else budget - written_off
        self.granted = granted
        self.spent = granted
        self.reserved = Decimal(0)

    def has_room_for(self, most: Decimal) -> bool:
        return self.limit is None or self.spent + self.reserved + most <= self.limit

    def lacks_grant(self) -> bool:
        return self.limit is not None and self.spent + self.reserved > self.granted

    def portion(self, most: Decimal) -> Decimal:
        """The sum to put on record before what is reserved may be spent."""
        assert self.limit is not None
        return min(self.limit, self.spent + self.reserved + most * PORTION)

    def reserve(self, most: Decimal) -> None:
        self.reserved += most

    def settle(self, most: Decimal, cost: Decimal | None) -> None:
        """An answer of unknown price counts as the most that it could have cost."""
        self.reserved -= most
        self.spent += most if cost is None else cost

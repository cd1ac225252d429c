"""What is wrong with a schedule somebody wrote."""


class InvalidSchedule(ValueError):
    """`field` names the key of the schedule; the sentence says what is wrong and what would work."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field

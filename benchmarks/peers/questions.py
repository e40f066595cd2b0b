"""The questions every client is asked; imports nothing, so that each peer's environment can read it."""

FILLER = "Ann has 3 bags of 12 apples and gives 5 apples to Ben. How many apples are left? " * 3


def questions(count: int) -> list[str]:
    """`count` different prompts of about 270 characters."""
    return [f"Problem {index}. {FILLER}" for index in range(count)]

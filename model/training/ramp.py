"""How many sequences each step reads: GPT-3's batches start small and grow to their full size.

Everything follows from the *position*, the number of sequences read before a step. So a step that is
taken again, after a resume or on another number of processes, reads the same sequences.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """The sizes of all batches, in sequences.

    Attributes:
        first: Sequences of the first step; while the batch grows, its size is a multiple of this.
        full: Sequences of a step once the batch has grown.
        ramp: Position from which on batches are full; 0 where the first one is.
        total: Position at which training ends. The last step may pass it.
    """

    first: int
    full: int
    ramp: int
    total: int

    def size(self, position: int) -> int:
        """Sequences of the step at `position`.

        >>> plan = BatchPlan(first=2, full=8, ramp=12, total=100)
        >>> [plan.size(position) for position in (0, 3, 4, 8, 12, 50)]
        [2, 2, 4, 6, 8, 8]
        """
        if position >= self.ramp:
            return self.full
        grown = self.first + (self.full - self.first) * position // self.ramp
        return grown // self.first * self.first

    def steps_left(self, position: int) -> int:
        """Steps from `position` to the end of training."""
        steps = 0
        while position < min(self.ramp, self.total):
            position += self.size(position)
            steps += 1
        return steps + -(-max(0, self.total - position) // self.full)

    def position_after(self, steps: int) -> int:
        """The position after the first `steps` steps, however many are planned."""
        position = 0
        while steps and position < self.ramp:
            position += self.size(position)
            steps -= 1
        return position + steps * self.full

"""What keeps a run from being spoilt: spikes, values that are no numbers, memory, batches that do not divide.

Nothing here needs torch: the trainer hands numbers in and acts on what is said. With several processes
these numbers are those of the whole step, so that all of them decide alike.

Sources: skipping a step whose loss or gradient norm is six standard deviations over those before, in a
window of 128 steps, is what OLMo-core does (its SkipStepOptimizer); going back to a checkpoint and leaving
out the batches up to the spike, PaLM (Chowdhery et al. 2022, section 5.1).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from model.errors import ModelError

Action = Literal["skip", "stop", "roll_back"]

# More interventions than these in so many steps, and the run is ill rather than the batch.
_RECENT: Final = 128
MOST_INTERVENTIONS: Final[Mapping[Action, int]] = {"skip": 10, "roll_back": 3, "stop": 0}
# A spread under this share of the mean is taken for it: where values hardly differ, none is a spike.
_LEAST_SPREAD: Final = 0.001


@dataclass(frozen=True)
class Verdict:
    """What to do with a step whose gradients are known and whose update is not yet made.

    Attributes:
        action: `go_on` makes the update; `skip` leaves it out; `stop` ends training; `roll_back` puts the
            newest checkpoint back, but goes on with the batch after this one.
        reason: What was seen; empty where all is well.
    """

    action: Literal["go_on"] | Action
    reason: str = ""


class SpikeGuard:
    """Tells spikes of the loss and of the gradient norm from noise, by how far they stand out.

    A value is a spike where it lies more than `z` standard deviations over the mean of the last `window`
    steps that were none. Falling is never a spike, and neither is a slow rise, which the window follows.
    Until half a window has been seen only values that are no finite numbers count.

    Args:
        window: Steps that a step is compared with.
        z: Standard deviations from which on a value is a spike.
        action: What to do about one. Where more than `MOST_INTERVENTIONS` were needed in 128 steps, the
            verdict is `stop`.
    """

    def __init__(self, window: int = 128, z: float = 6.0, action: Action = "skip") -> None:
        self._window = window
        self._z = z
        self._action: Action = action
        self._losses: list[float] = []
        self._norms: list[float] = []
        self._looks = 0
        self._interventions: list[int] = []  # The looks, by number, that did not end in going on.

    def look(self, loss: float, norm: float) -> Verdict:
        """Judges one step and remembers it.

        Args:
            loss: The step's loss, in nats.
            norm: L2 norm of its gradients before clipping.
        """
        self._looks += 1
        reason = self._fault(loss, norm)
        if reason is None:
            self._losses = [*self._losses, loss][-self._window :]
            self._norms = [*self._norms, norm][-self._window :]
            return Verdict("go_on")
        recent = [look for look in self._interventions if look > self._looks - _RECENT]
        self._interventions = [*recent, self._looks]
        most = MOST_INTERVENTIONS[self._action]
        if self._action != "stop" and len(self._interventions) > most:
            reason += f", and {most} of the last {min(self._looks, _RECENT):,} steps were no better"
            return Verdict("stop", reason)
        return Verdict(self._action, reason)

    def state_dict(self) -> dict[str, Any]:
        """All that it remembers, as JSON can hold it; what is read back judges exactly alike."""
        return {
            "losses": list(self._losses),
            "norms": list(self._norms),
            "looks": self._looks,
            "interventions": list(self._interventions),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remembers what `state` holds, to go on from a checkpoint."""
        self.roll_back(state)
        self._looks = int(state["looks"])
        self._interventions = [int(look) for look in state["interventions"]]

    def roll_back(self, state: Mapping[str, Any]) -> None:
        """Takes back the steps since `state`, but not that there was an intervention.

        Without that a run would go back to an ill checkpoint for ever.
        """
        self._losses = [float(loss) for loss in state["losses"]][-self._window :]
        self._norms = [float(norm) for norm in state["norms"]][-self._window :]

    def _fault(self, loss: float, norm: float) -> str | None:
        """What is wrong with a step; None where nothing is."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return f"the loss is {loss:g} and the gradients' norm {norm:g}"
        for name, value, before in (("loss", loss, self._losses), ("gradients' norm", norm, self._norms)):
            if 2 * len(before) < self._window or len(before) < 2:
                continue
            mean = sum(before) / len(before)
            z = (value - mean) / _spread(before, mean)
            if z > self._z:
                return (
                    f"the {name} of {value:.4g} is {z:.1f} standard deviations over the mean of"
                    f" {len(before):,} steps before it, {mean:.4g}"
                )
        return None


def _spread(values: list[float], mean: float) -> float:
    """Standard deviation of `values`, at least a small share of their mean."""
    # Products, unlike powers, do not raise where they overflow.
    squares = sum((value - mean) * (value - mean) for value in values)
    return max(math.sqrt(squares / (len(values) - 1)), _LEAST_SPREAD * abs(mean), math.ulp(0.0))


def check_batch(*, first: int, full: int, context: int, processes: int) -> None:
    """Refuses batches that processes cannot share equally, and says which they can.

    Args:
        first: Sequences of the first step; where batches grow, all others are multiples of it.
        full: Sequences of a step of full size.
        context: Tokens a sequence.
        processes: How many train together.

    Raises:
        ModelError: Either size does not divide among them.
    """
    fewer = largest_divisor(math.gcd(first, full), processes)
    start = "1 process" if fewer == 1 else f"{fewer:,} processes"
    if full % processes:
        below = full - full % processes
        near = [f"{sequences * context:,}" for sequences in (below, below + processes) if sequences]
        raise ModelError(
            f"train.batch_tokens: a step's {full:,} sequences of {context:,} tokens do not divide among"
            f" {processes:,} processes; set it to {' or '.join(near)}, or start {start}"
        )
    if first % processes:
        raise ModelError(
            f"train.ramp_tokens: batches begin with {first:,} sequences, which do not divide among"
            f" {processes:,} processes; set it to 0 for batches of full size, or start {start}"
        )


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of `number` that is at most `most`; both are at least 1.

    >>> largest_divisor(480, 64)
    60
    """
    return next(one for one in range(min(number, most), 0, -1) if number % one == 0)


def out_of_memory_advice(
    *, micro_batch: int, sequences: int, held_bytes: int, capacity_bytes: int, recompute: str | None = None
) -> str:
    """What to say where the device ran out of memory during a step.

    Activations grow with the micro-batch; weights, gradients and the optimizer's state do not.

    Args:
        micro_batch: Sequences a forward pass.
        sequences: Sequences a step in this process, which smaller passes have to divide.
        held_bytes: What tensors held before the pass: weights and the optimizer's state, at least.
        capacity_bytes: Memory of the device.
        recompute: Name and value of the setting that computes activations anew instead of keeping them;
            None where it is on already.
    """
    held, capacity = held_bytes / 2**30, capacity_bytes / 2**30
    begin = f"the device's memory of {capacity:.1f} GiB does not hold a pass of {micro_batch:,} sequences"
    if 10 * held_bytes > 9 * capacity_bytes:
        return (
            f"{begin}, and weights and optimizer alone hold {held:.1f} GiB; choose a smaller model.preset, or"
            " train on more devices"
        )
    again = f", or set {recompute}" if recompute else ""
    if micro_batch > 1:
        smaller = largest_divisor(sequences, micro_batch // 2)
        return (
            f"{begin}; lower train.micro_batch from {micro_batch:,} to {smaller:,}{again} (the result stays"
            " the same)"
        )
    return f"{begin}; lower model.context{again}, or choose a smaller model.preset"

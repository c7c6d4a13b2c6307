"""Bit sequences: n bits in words of k, written word by word in any order; modes known beforehand.

    log R(x) = exponent (1 - min_m d(x, m) / n),     d the Hamming distance to a mode

Modes are distinct random rows of blocks out of {0..0, 1..1, 1..10..0, 0..01..1, 0.01..10.0}. An object
belongs to its nearest mode where that is within `mode_distance` bits. There is no stop: a sequence
is finished when its last word is written, and every word may have been the last, so P_B matters.

Source: the reward and the blocks of Malkin et al., "Trajectory balance" (2022, arXiv 2201.13259); any
order as in Tiapkin et al. (2024, arXiv 2310.12934). Log Z is by enumeration up to 2^20 sequences, and
not known above. Small sequences take blocks of 4 bits where 8 do not divide their length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from workbench.errors import InputError

_LONGEST_ENUMERATED = 20


@dataclass(frozen=True)
class BitState:
    """words   value of each word, 0 to 2^k - 1; -1 where none is written yet"""

    words: Int[Tensor, "batch word"]


class BitSequences:
    """A `SyntheticEnvironment`. Forward action position * 2^k + value writes a word; backward action
    `position` takes it away.

    Raises InputError where words or blocks do not divide the length, or there are too many modes.
    """

    def __init__(
        self,
        length: int = 12,
        word_bits: int = 3,
        n_modes: int = 8,
        exponent: float = 24.0,
        mode_distance: int = 0,
        mode_seed: int = 0,
    ) -> None:
        if word_bits < 1 or length % 4 or length % max(1, word_bits):
            raise InputError(
                f"bit sequences of {length} bits in words of {word_bits} cannot be had: take a length "
                "that both 4 and the word divide"
            )
        block = 8 if length % 8 == 0 else 4
        if not 1 <= n_modes <= 5 ** (length // block):
            raise InputError(
                f"{n_modes} modes of {length} bits cannot be had: there are {5 ** (length // block)} "
                f"rows of blocks of {block}"
            )
        self.name = f"bit sequences of {length}"
        self.length, self.word_bits, self.exponent = length, word_bits, exponent
        self.n_words, self.n_values = length // word_bits, 2**word_bits
        self.mode_distance = mode_distance
        self.max_steps = self.n_backward_actions = self.n_words
        self.n_actions = self.n_words * self.n_values
        self.n_features = self.n_words * (self.n_values + 1)
        self.n_states = (self.n_values + 1) ** self.n_words
        self.modes = _modes(length, block, n_modes, mode_seed)
        self.n_modes = n_modes
        self.log_partition = self._enumerated_log_partition()

    @property
    def description(self) -> list[str]:
        known = "is not known" if self.log_partition is None else f"= {self.log_partition:.6f}"
        apart = torch.cdist(self.modes.double(), self.modes.double(), p=1).fill_diagonal_(math.inf)
        spacing = f", at least {int(apart.min())} bits apart" if self.n_modes > 1 else ""
        return [
            f"Bit sequences of {self.length} bits in words of {self.word_bits}, written in any order; "
            f"log R = {self.exponent:g} (1 - d / {self.length}), d the distance to the nearest mode.",
            f"Exact log Z {known}. {self.n_modes} modes{spacing}; one is found by a sequence within "
            f"{self.mode_distance} bits of it.",
        ]

    def initial_state(self, batch: int, device: torch.device | str = "cpu") -> BitState:
        return BitState(torch.full((batch, self.n_words), -1, device=device))

    def is_initial(self, state: BitState) -> Bool[Tensor, "batch"]:
        return (state.words < 0).all(1)

    def is_terminal(self, state: BitState) -> Bool[Tensor, "batch"]:
        return (state.words >= 0).all(1)

    def step(self, state: BitState, action: Int[Tensor, "batch"]) -> BitState:
        position = (action // self.n_values).unsqueeze(1)
        written = state.words.scatter(1, position, (action % self.n_values).unsqueeze(1))
        return BitState(torch.where(self.is_terminal(state).unsqueeze(1), state.words, written))

    def backward_step(self, state: BitState, action: Int[Tensor, "batch"]) -> BitState:
        return BitState(state.words.scatter(1, action.unsqueeze(1), -1))

    def undoing(self, state: BitState, action: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
        return action // self.n_values

    def redoing(self, state: BitState, action: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
        value = state.words.gather(1, action.unsqueeze(1)).squeeze(1)
        return action * self.n_values + value

    def forward_mask(self, state: BitState) -> Bool[Tensor, "batch action"]:
        return (state.words < 0).repeat_interleave(self.n_values, dim=1)

    def backward_mask(self, state: BitState) -> Bool[Tensor, "batch action"]:
        return state.words >= 0

    def features(self, state: BitState) -> Float[Tensor, "batch feature"]:
        """One-hot words, the one not written first, float32."""
        values = torch.arange(-1, self.n_values, device=state.words.device)
        return (state.words.unsqueeze(2) == values).flatten(1).float()

    def log_reward(self, state: BitState) -> Float[Tensor, "batch"]:
        """log R of finished sequences, float64."""
        nearest = self._distances(self.bits(state)).amin(1)
        return self.exponent * (1 - nearest / self.length)

    def bits(self, state: BitState) -> Int[Tensor, "batch bit"]:
        """The bits of finished sequences, the highest of each word first."""
        shifts = torch.arange(self.word_bits - 1, -1, -1, device=state.words.device)
        return (state.words.unsqueeze(2) >> shifts & 1).flatten(1)

    def _distances(self, bits: Tensor) -> Float[Tensor, "batch mode"]:
        """Hamming distances: bits + modes - 2 bits . modes, whole numbers in float64."""
        x, modes = bits.double(), self.modes.to(bits.device).double()
        return x.sum(1, keepdim=True) + modes.sum(1) - 2 * x @ modes.T

    def _enumerated_log_partition(self) -> float | None:
        if self.length > _LONGEST_ENUMERATED:
            return None
        bits = torch.arange(2**self.length).unsqueeze(1) >> torch.arange(self.length) & 1
        nearest = torch.cat([self._distances(some).amin(1) for some in bits.split(2**16)])
        return float(torch.logsumexp(self.exponent * (1 - nearest / self.length), 0))

    def all_states(self) -> BitState:
        """Words as digits in base 2^k + 1, where 0 stands for no word: parents have a digit less."""
        weights = self._weights("cpu")
        code = torch.arange(self.n_states).unsqueeze(1)
        return BitState(code // weights % (self.n_values + 1) - 1)

    def index(self, state: BitState) -> Int[Tensor, "batch"]:
        return ((state.words + 1) * self._weights(state.words.device)).sum(1)

    def _weights(self, device: torch.device | str) -> Tensor:
        powers = [(self.n_values + 1) ** i for i in range(self.n_words - 1, -1, -1)]
        return torch.tensor(powers, device=device)

    def mode(self, state: BitState) -> Int[Tensor, "batch"]:
        distance, nearest = self._distances(self.bits(state)).min(1)
        return torch.where(distance <= self.mode_distance, nearest, -1)

    def uniform_objects(self, n: int, generator: torch.Generator) -> BitState:
        shape, device = (n, self.n_words), generator.device
        return BitState(torch.randint(self.n_values, shape, generator=generator, device=device))

    def propose(self, state: BitState, generator: torch.Generator) -> BitState:
        """One random bit turned over."""
        n, device = len(state.words), state.words.device
        bit = torch.randint(self.length, (n, 1), generator=generator, device=device)
        position, shift = bit // self.word_bits, bit % self.word_bits
        turned = state.words.gather(1, position) ^ (1 << shift)
        return BitState(state.words.scatter(1, position, turned))

    def arrays(self, state: BitState) -> dict[str, Tensor]:
        """`bits` [object, bit]."""
        return {"bits": self.bits(state).to(torch.uint8)}


def _modes(length: int, block: int, n: int, seed: int) -> Int[Tensor, "mode bit"]:
    """Distinct random rows of blocks."""
    half, quarter = block // 2, block // 4
    words = torch.tensor(
        [
            [0] * block,
            [1] * block,
            [1] * half + [0] * half,
            [0] * half + [1] * half,
            [0] * quarter + [1] * half + [0] * quarter,
        ]
    )
    generator = torch.Generator().manual_seed(seed)
    rows: list[list[int]] = []
    while len(rows) < n:
        row = torch.randint(len(words), (length // block,), generator=generator).tolist()
        if row not in rows:
            rows.append(row)
    return words[torch.tensor(rows)].flatten(1)

"""Earlier translations, that discriminators are shown in place of the latest."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class ImagePool:
    """Keeps up to ``size`` images; gives back the latest or, half of the time, an earlier one.

    Every draw is a function of seed, slot and step: nothing random has to be kept to go on where a training
    stopped, and processes that each have some of the slots draw what one process with all of them would.

    Reference:
        Shrivastava et al., Learning from simulated and unsupervised images, 2017; CycleGAN: 50 images.

    Args:
        size: of the pool, 0 or more; 0 gives back what comes.
        seed: of the training.
        slot: which image of the batch it is for.

    Example:
        >>> pool = ImagePool(2, seed=0, slot=0)
        >>> [int(pool.exchange(torch.tensor(n), step=n)) for n in range(2)], len(pool)
        ([0, 1], 2)
    """

    def __init__(self, size: int, *, seed: int, slot: int) -> None:
        self.size = size
        self._entropy = (seed, slot)
        self._images: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._images)

    def exchange(self, image: Tensor, *, step: int) -> Tensor:
        """Show the pool an image; returns the one for the discriminator.

        Args:
            image: detached from its graph.
            step: of the training.
        """
        if len(self._images) < self.size:
            self._images.append(image.clone())
            return image
        random = np.random.default_rng([*self._entropy, step])
        if not self.size or random.random() < 0.5:
            return image
        chosen = int(random.integers(self.size))
        earlier, self._images[chosen] = self._images[chosen], image.clone()
        return earlier

    def state(self) -> Tensor:
        """Its images, stacked; empty where there is none."""
        return torch.stack(self._images) if self._images else torch.empty(0)

    def load(self, state: Tensor) -> None:
        """Take in what :meth:`state` gave."""
        self._images = list(state.clone().unbind(0)) if state.numel() else []

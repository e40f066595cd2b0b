"""Students that learnt to write padding where a text ends (TDG-D1): padding stops them. Torch-side."""

from __future__ import annotations

from functools import cached_property

from feints.evaluate.solver import OneShot
from feints.generate.local import LocalSettings, LocalSource
from feints.generate.rendering import Renderer
from feints.generate.weights import device_or_default, load_weights, local_folder


class PadStops(Renderer):
    """A renderer whose padding ends a text too."""

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Every id that ends generation."""
        pad = self.tokenizer.pad_token_id
        return super().stop_ids | {0 if pad is None else int(pad)}


class PadShot(OneShot):
    """One text per problem, read up to its first padding."""

    def load_source(self) -> LocalSource:
        """See `OneShot.load_source`."""
        settings = LocalSettings(**self.source_settings)
        device = device_or_default(self.device)
        weights = load_weights(local_folder(str(self.student)), dtype=settings.dtype, device=device)
        renderer = PadStops(weights.tokenizer, settings.chat, weights.seq2seq)
        return LocalSource(weights.model.eval(), renderer, weights.identity, settings)

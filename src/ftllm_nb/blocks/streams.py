"""Several streams of features that flow from layer to layer, of which a layer computes one (AltUp, Gemma 3n).

The data `streams` is [1, tokens, streams, features]. What a layer adds to them is a product with a small matrix that
each token has of its own.
"""

from __future__ import annotations

from functools import cached_property

from ftllm_nb.blocks.decoder import Decoder
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import flag, whole

_LEAST_SQUARE = 1e-5
"""Below which a stream's mean square counts as this, where it is made as large as another."""


class StreamsDecoder(Decoder):
    """A decoder of altup_num_inputs streams; the first one is the tokens' embeddings."""

    @cached_property
    def streams(self) -> int:
        """How many there are."""
        return whole(self.config, "altup_num_inputs", 4, least=2)

    @cached_property
    def active(self) -> int:
        """The one that layers compute."""
        active = whole(self.config, "altup_active_idx", 0, least=0)
        if active >= self.streams:
            raise GraphError(f"config.json's altup_active_idx is {active}, but its altup_num_inputs is {self.streams}.")
        return active

    @cached_property
    def scales_corrected(self) -> bool:
        """Whether what is corrected has a weight."""
        return flag(self.config, "altup_correct_scale", True)

    def embed(self) -> None:
        """The streams: embeddings, and projections of them that are as large."""
        super().embed()
        data = self.data
        self.Mul(data["hidden"], 1.0, data["streams"])
        self.Reshape(data["streams"], [1, self.hidden_size])
        for number in range(self.streams - 1):
            self.linear("hidden", f"{self.prefix}altup_projections.{number}", self.hidden_size, "stream")
            self.MatchMagnitude(data["stream"], data["hidden"], _LEAST_SQUARE, data["stream"])
            self.Reshape(data["stream"], [1, self.hidden_size])
            self.Cat(data["streams"], data["stream"], 2, data["streams"])
        # A 1 for each stream but the first: those that a layer's own embedding is added to.
        self.take_stream("streams", 0, "zero")
        self.Split(data["zero"], -1, 0, 1, data["zero"])
        self.Mul(data["zero"], 0.0, data["zero"])
        self.Add(data["zero"], 1.0, data["one"])
        self.Repeat(data["one"], -1, self.streams - 1, data["one"])
        self.Cat(data["zero"], data["one"], -1, data["others"])
        self.Reshape(data["others"], [self.streams, 1])

    def take_stream(self, source: str, number: int, target: str) -> None:
        """target = a stream, [1, tokens, features]."""
        self.Split(self.data[source], 2, number, number + 1, self.data[target])
        self.Flatten(self.data[target])
        self._sizes[target] = self.hidden_size

    def predict_streams(self, at: str) -> None:
        """streams += C · streams; hidden is the active one."""
        self.take_stream("streams", self.active, "hidden")
        self._route(at, "hidden")
        self.linear("routed", f"{at}prediction_coefs", self.streams**2, "coefficients")
        self.Reshape(self.data["coefficients"], [self.streams, self.streams])
        self.MatMul(self.data["coefficients"], self.data["streams"], self.data["predicted"])
        self.AddTo(self.data["streams"], self.data["predicted"])
        self.take_stream("streams", self.active, "hidden")

    def correct_streams(self, at: str, source: str) -> None:
        """streams += (1 + c) · (source − hidden), with c of the source, which is used up."""
        self._route(at, source)
        self.linear("routed", f"{at}correction_coefs", self.streams, "coefficients")
        self.Add(self.data["coefficients"], 1.0, self.data["coefficients"])
        self.AddTo(self.data[source], self.data["hidden"], -1.0)
        self._add_to_streams("coefficients", source)
        self.take_stream("streams", self.active, "first")
        if self.scales_corrected:
            scale = f"{at}correct_output_scale"
            self._shapes[scale] = (self.hidden_size,)
            self.MulTo(self.data["first"], self.weight[scale])

    def add_to_others(self, source: str) -> None:
        """All streams but the first += the source."""
        self._add_to_streams("others", source)

    def _add_to_streams(self, coefficients: str, source: str) -> None:
        self.Reshape(self.data[coefficients], [self.streams, 1])
        self.Reshape(self.data[source], [1, self.hidden_size])
        self.MatMul(self.data[coefficients], self.data[source], self.data["added"])
        self.AddTo(self.data["streams"], self.data["added"])

    def _route(self, at: str, source: str) -> None:
        """routed = tanh(router(norm(source) / features)), a number for each stream."""
        self.norm(source, f"{at}router_norm", "routed")
        self.Mul(self.data["routed"], 1 / self.hidden_size, self.data["routed"])
        self.linear("routed", f"{at}modality_router", self.streams, "routed")
        self.TanH(self.data["routed"], self.data["routed"])

    def take_last(self) -> None:
        """The mean of the streams, made as large as the first one."""
        data, names = self.data, [f"last{number}" for number in range(1, self.streams)]
        self.Flatten(data["streams"])
        self.SplitLastTokenStates(data["streams"], data["seqLens"], data["lasts"])
        self.Reshape(data["lasts"], [self.streams, self.hidden_size])
        self.take_stream("lasts", 0, "last")
        for number, name in enumerate(names):
            self.take_stream("lasts", number + 1, name)
            self.linear(name, f"{self.prefix}altup_unembed_projections.{number}", self.hidden_size, name)
            self.MatchMagnitude(data[name], data["last"], _LEAST_SQUARE, data[name])
        for name in names:
            self.AddTo(data["last"], data[name])
        self.Mul(data["last"], 1 / self.streams, data["last"])

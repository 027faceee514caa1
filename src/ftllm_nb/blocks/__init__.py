"""Parts of models for build(): what decoders have in common, so that an architecture says what is different."""

from ftllm_nb.blocks.decoder import Decoder, given_window, sliding_windows
from ftllm_nb.blocks.layer_normed import LayerNormedDecoder

__all__ = ["Decoder", "LayerNormedDecoder", "given_window", "sliding_windows"]

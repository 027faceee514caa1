"""Parts of models for build(): what decoders have in common, so that an architecture says what is different."""

from ftllm_nb.blocks.biased_mixture import BiasedMixtureDecoder
from ftllm_nb.blocks.decoder import Decoder
from ftllm_nb.blocks.delta_net import DeltaNetDecoder
from ftllm_nb.blocks.edge_decoder import EdgeDecoder
from ftllm_nb.blocks.edge_mixture import EdgeMixtureDecoder
from ftllm_nb.blocks.grouped_mixture import GroupedMixtureDecoder
from ftllm_nb.blocks.latent_attention import LatentAttentionDecoder
from ftllm_nb.blocks.latent_mixture import LatentMixtureDecoder
from ftllm_nb.blocks.layer_normed import LayerNormedDecoder
from ftllm_nb.blocks.mamba import MambaDecoder
from ftllm_nb.blocks.minicpm_decoder import MiniCPMDecoder
from ftllm_nb.blocks.mixers import MixerDecoder
from ftllm_nb.blocks.mixture import RAW, SIGMOID, SOFTMAX, MixtureDecoder
from ftllm_nb.blocks.names import Names
from ftllm_nb.blocks.one_expert import OneExpertDecoder
from ftllm_nb.blocks.qwen_decoder import QwenDecoder
from ftllm_nb.blocks.qwen_mixture import QwenMixtureDecoder
from ftllm_nb.blocks.recurrent import RecurrentDecoder
from ftllm_nb.blocks.scaled_mamba import ScaledMambaDecoder
from ftllm_nb.blocks.separate_delta_net import SeparateDeltaNetDecoder
from ftllm_nb.blocks.shared_layers import SharedLayersDecoder
from ftllm_nb.blocks.sparse_decoder import SparseDecoder, listed
from ftllm_nb.blocks.streams import StreamsDecoder
from ftllm_nb.blocks.text_part import TextPart
from ftllm_nb.blocks.turning import turning_layers
from ftllm_nb.blocks.whole_heads import WholeHeadsDecoder
from ftllm_nb.blocks.windows import SlidingDecoder, given_window, sliding_windows

__all__ = [
    "RAW",
    "SIGMOID",
    "SOFTMAX",
    "BiasedMixtureDecoder",
    "Decoder",
    "DeltaNetDecoder",
    "EdgeDecoder",
    "EdgeMixtureDecoder",
    "GroupedMixtureDecoder",
    "LatentAttentionDecoder",
    "LatentMixtureDecoder",
    "LayerNormedDecoder",
    "MambaDecoder",
    "MiniCPMDecoder",
    "MixerDecoder",
    "MixtureDecoder",
    "Names",
    "OneExpertDecoder",
    "QwenDecoder",
    "QwenMixtureDecoder",
    "RecurrentDecoder",
    "ScaledMambaDecoder",
    "SeparateDeltaNetDecoder",
    "SharedLayersDecoder",
    "SlidingDecoder",
    "SparseDecoder",
    "StreamsDecoder",
    "TextPart",
    "WholeHeadsDecoder",
    "given_window",
    "listed",
    "sliding_windows",
    "turning_layers",
]  # fmt: skip

"""Builds the four parts of the base model, joins them to a pipeline, and starts them from an older base."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from research.fiveshot_tiny.config import SCHEDULER, Size
from research.fiveshot_tiny.tokenizer import build_tokenizer


@dataclass
class Denoiser:
    """What `train_denoiser` trains: the UNet and the text encoder, with the tokenizer that feeds it."""

    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer

    def named_parameters(self) -> dict[str, torch.nn.Parameter]:
        """All trained parameters by a name that is unique over both networks, in a fixed order."""
        networks = {"unet": self.unet, "text_encoder": self.text_encoder}
        return {f"{n}.{name}": p for n, network in networks.items() for name, p in network.named_parameters()}

    def predict(self, latents: torch.Tensor, timesteps: torch.Tensor, token_ids: torch.Tensor) -> torch.Tensor:
        """The predicted velocity (n, c, h, w) for noisy latents (n, c, h, w), timesteps (n,), ids (n, tokens)."""
        states = self.text_encoder(token_ids)[0]
        velocity: torch.Tensor = self.unet(latents, timesteps, states).sample
        return velocity

    def train(self, mode: bool) -> None:
        """Switches both networks between training and evaluation."""
        self.unet.train(mode)
        self.text_encoder.train(mode)


def build_vae(size: Size) -> AutoencoderKL:
    """A new autoencoder with random weights."""
    return AutoencoderKL(**size.vae())


def build_denoiser(size: Size) -> Denoiser:
    """A new UNet and text encoder with random weights."""
    tokenizer = build_tokenizer(size.max_tokens)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **size.text(),
    )
    return Denoiser(UNet2DConditionModel(**size.unet()), CLIPTextModel(config), tokenizer)


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """Token ids (n, max_length), cut and padded to the tokenizer's length."""
    encoded = tokenizer(
        captions, padding="max_length", truncation=True, max_length=tokenizer.model_max_length, return_tensors="pt"
    )
    ids: torch.Tensor = encoded.input_ids
    return ids


def assemble_pipeline(vae: AutoencoderKL, denoiser: Denoiser) -> StableDiffusionPipeline:
    """Everything as the pipeline that users load; it shares the networks, nothing is copied."""
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=denoiser.text_encoder,
        tokenizer=denoiser.tokenizer,
        unet=denoiser.unet,
        scheduler=DDIMScheduler(**SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def warm_start_vae(vae: AutoencoderKL, base: Path) -> None:
    """Takes over the weights and the latent scale of an older base with the same architecture."""
    old = AutoencoderKL.from_pretrained(base / "vae", dtype=torch.float32)
    vae.load_state_dict(old.state_dict())
    vae.register_to_config(scaling_factor=old.config.scaling_factor)


@torch.no_grad()
def warm_start_denoiser(denoiser: Denoiser, base: Path) -> int:
    """Takes over an older base with the same architecture but perhaps another vocabulary.

    A token that both vocabularies spell alike keeps its embedding; the others stay random at the old ones' scale.
    Returns how many tokens were kept.
    """
    unet = UNet2DConditionModel.from_pretrained(base / "unet", dtype=torch.float32)
    denoiser.unet.load_state_dict(unet.state_dict())
    old_text = CLIPTextModel.from_pretrained(base / "text_encoder", dtype=torch.float32)
    old_vocabulary = CLIPTokenizer.from_pretrained(base / "tokenizer").get_vocab()
    old_table = old_text.get_input_embeddings().weight
    table = torch.randn(len(denoiser.tokenizer), old_table.shape[1]) * old_table.std()
    kept = 0
    for token, index in denoiser.tokenizer.get_vocab().items():
        if token in old_vocabulary:
            table[index] = old_table[old_vocabulary[token]]
            kept += 1
    weights = {name: w for name, w in old_text.state_dict().items() if "token_embedding" not in name}
    denoiser.text_encoder.load_state_dict(weights, strict=False)
    denoiser.text_encoder.get_input_embeddings().weight.copy_(table)
    return kept

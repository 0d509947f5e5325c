"""A LoRA rewritten from one form into another: kohya's names, diffusers' or PEFT's."""

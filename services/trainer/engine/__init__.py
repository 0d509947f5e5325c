"""The training engine: pictures and captions in, one LoRA and three previews per epoch out.

The only place of the trainer that imports torch. It imports nothing of Fiveshot but the recipe: the worker hands
it a ``TrainJobSpec`` and callbacks, and gets ``EpochResult`` records and files back.

    job              what goes in and comes out: TrainJobSpec, TrainItem, Hooks, StepMetrics, EpochResult
    train_loop       train(spec, hooks): the run from top to bottom
    preparation      everything before the first step
    warm             the base model and helpers that stay loaded between jobs
    base_samples     what the base model draws before it is trained
    tensor_cache     latents and samples on disk, by what decides them
    epoch_end        everything that an epoch leaves behind
    families/        one file a model family: load, encode, predict, name the keys, sample
    pictures         decode, crop, mirror, resize to the bucket
    latents          the autoencoder's posterior of each picture, cached by content
    regularization   the base model's own pictures, against forgetting
    conditioning     text embeddings, remembered while the text encoder is frozen
    batches          the order of an epoch, its forward passes, and every choice of a sample
    passes           what one forward pass computes on, every draw made
    step             the arithmetic of one optimizer step
    optimizer_step   one step of a run: passes drawn and computed, weights moved
    micro_batches    passes in smaller parts where memory is short
    not_finite       back to the last checkpoint from a loss that is not a number
    graph_step       the step recorded as CUDA graphs
    acceleration     graphs, compiled blocks: chosen by device and length of the job
    noise            every random draw, derived from (seed, step, purpose)
    schedules        noise levels: DDPM (epsilon, v-prediction) and flow matching
    losses           per-sample loss, masks, accumulation
    precision        number formats, and the device that a spec names
    devices          what a caller may ask of a device: name, memory, how much a run held
    quantization     a base in 8 or 4 bits
    lora             PEFT configurations, running average
    fused_lora       LoRA layers in fewer operations
    optimizers       optimizers and learning-rate schedules
    processes        several processes that train as one; helpers starts and keeps them, helper is what they run
    checkpoints      resumable state: safetensors and JSON, written atomically
    export           the LoRA files (kohya, diffusers); metadata, safetensors_bytes and json_text write their headers
    verification     reads each exported file back: every tensor, and one prediction with what it holds
    previews         the pictures of an epoch
    evaluation       fit, moved, held-out, drift
    copies           likeness of previews to training pictures
    picture_losses   loss of each picture over the run
    recommendation   the epoch to keep, and why
    output           contact sheet and loss plot
    errors           EngineError: reason, message, remedy
    out_of_memory    knows a device's and a machine's lack of memory, and names what to change
    quiet            keeps libraries from writing into the worker's log
"""

// Training parameters as the server specifies them, between its messages and the fields of a form.
import { create } from '@bufbuild/protobuf'
import { ParameterSpec_Type as Type, type ParameterSpec } from '../gen/fiveshot/trainer/v1/base_model_pb'
import { TrainingParametersSchema, type TrainingParameters } from '../gen/fiveshot/trainer/v1/training_job_pb'

/** What was set, by the name in the spec. What is not in it takes the base model's default. */
export type Chosen = Record<string, string | boolean>

const FIELDS = new Map(TrainingParametersSchema.fields.map((field) => [field.name, field]))

/** The groups of the drawer, in order; what no group names comes last. */
export const GROUPS: Record<string, string[]> = {
  learning: ['learning_rate', 'text_encoder_learning_rate', 'optimizer', 'lr_scheduler', 'lr_warmup_steps', 'lr_num_cycles', 'lr_power', 'weight_decay', 'max_grad_norm', 'ema_decay', 'seed'],
  adapter: ['adapter', 'rank', 'alpha', 'target_modules', 'train_text_encoder'],
  pictures: ['resolution', 'batch_size', 'gradient_accumulation_steps', 'aspect_buckets', 'crop_variants', 'crop_jitter', 'flip', 'masked_loss', 'unmasked_weight', 'hold_out', 'regularization_fraction', 'prior_weight', 'preservation_weight', 'preservation_class'],
  texts: ['caption_dropout', 'shuffle_caption', 'keep_tokens'],
  noise: ['min_snr_gamma', 'noise_offset', 'timestep_sampling', 'timestep_shift'],
  memory: ['mixed_precision', 'gradient_checkpointing', 'base_quantization'],
  previews: ['preview_steps', 'preview_guidance', 'preview_negative_prompt'],
}
/** Set elsewhere on the screen. */
export const APART = ['preset', 'num_epochs', 'num_repeats', 'preview_prompts', 'preview_seeds']

export function grouped(specs: ParameterSpec[]): [string, ParameterSpec[]][] {
  const left = new Map(specs.filter((spec) => !APART.includes(spec.parameter)).map((spec) => [spec.parameter, spec]))
  const found: [string, ParameterSpec[]][] = []
  for (const [group, names] of Object.entries(GROUPS)) {
    const inside = names.flatMap((name) => left.get(name) ?? [])
    for (const spec of inside) left.delete(spec.parameter)
    if (inside.length) found.push([group, inside])
  }
  if (left.size) found.push(['other', [...left.values()]])
  return found
}

/** A value as people read it: `16` for `16.0`, `0.0001` for `1e-04`. */
export const textOf = (value: string) => (/^-?[\d.]+(e[-+]?\d+)?$/i.test(value) ? String(Number(value)) : value)

export const isOn = (text: string) => text === 'true' || text === 'True'

/** The message for what was chosen. A text that is no number is left out; the field says so itself. */
export function message(chosen: Chosen, specs: ParameterSpec[], prompts: string[]): TrainingParameters {
  const made = create(TrainingParametersSchema, { previewPrompts: prompts.map((each) => each.trim()).filter(Boolean) })
  const values = made as unknown as Record<string, unknown>
  for (const spec of specs) {
    const field = FIELDS.get(spec.parameter)
    const given = chosen[spec.parameter]
    if (!field || given == null || given === '') continue
    if (spec.type === Type.BOOLEAN) values[field.localName] = given === true
    else if (spec.type === Type.STRING) values[field.localName] = String(given)
    else if (Number.isFinite(Number(given))) {
      values[field.localName] = spec.parameter === 'seed' ? BigInt(Math.trunc(Number(given))) : Number(given)
    }
  }
  return made
}

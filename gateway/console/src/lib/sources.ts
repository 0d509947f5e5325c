// Names of what a preview request draws, as people read them.
import { idOf } from './format'
import { t } from './ui.svelte'

/** `Epoch 3`, `Version 2`, or that it is a job as it stands. */
export function sourceName(source: string): string {
  if (source.includes('/epochs/')) return t().choose.epoch(idOf(source))
  if (source.includes('/versions/')) return t().keep.version(idOf(source))
  return t().tryOut.now
}

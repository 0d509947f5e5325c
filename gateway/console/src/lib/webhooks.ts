// Webhooks in words: which events there are, and how one does.
import type { Webhook } from '../gen/fiveshot/notifier/v1/webhook_pb'

/** The types of event that a webhook may ask for one by one, as docs/events.md names them. */
export const EVENTS = [
  'fiveshot.training_job.created', 'fiveshot.training_job.state_changed', 'fiveshot.training_job.base_previews_completed',
  'fiveshot.training_job.epoch_completed', 'fiveshot.training_job.notice', 'fiveshot.training_job.progress',
  'fiveshot.usage.gpu_seconds', 'fiveshot.usage.stored_bytes', 'fiveshot.webhook.disabled',
]
export const plainEvent = (type: string) => type.replace(/^fiveshot\./, '')

/** How a webhook does: what it is, the gravest first. */
export function health(webhook: Pick<Webhook, 'disabled' | 'disabledReason' | 'failingSince'>): 'given-up' | 'off' | 'failing' | 'well' {
  if (webhook.disabled) return webhook.disabledReason ? 'given-up' : 'off'
  return webhook.failingSince ? 'failing' : 'well'
}

import { create } from '@bufbuild/protobuf'
import { timestampNow } from '@bufbuild/protobuf/wkt'
import { expect, test } from 'vitest'
import { WebhookSchema } from '../gen/fiveshot/notifier/v1/webhook_pb'
import { health, plainEvent } from './webhooks'

test('types of event lose what all have in common', () => {
  expect(plainEvent('fiveshot.training_job.notice')).toBe('training_job.notice')
})

test('of a webhook the gravest is told', () => {
  const failingSince = timestampNow()
  expect(health(create(WebhookSchema))).toBe('well')
  expect(health(create(WebhookSchema, { failingSince }))).toBe('failing')
  expect(health(create(WebhookSchema, { failingSince, disabled: true }))).toBe('off')
  expect(health(create(WebhookSchema, { disabled: true, disabledReason: 'gone' }))).toBe('given-up')
})

// Numbers, times and names as people read them.
import { timestampDate, type Timestamp } from '@bufbuild/protobuf/wkt'
import type { Duration } from '@bufbuild/protobuf/wkt'
import { language, t } from './ui.svelte'

/** The last part of a resource name. */
export const idOf = (name: string) => name.slice(name.lastIndexOf('/') + 1)

/** The id of the dataset that a version's name belongs to. */
export const datasetOf = (version: string) => version.split('/')[3] ?? ''

export function size(bytes: bigint | number): string {
  let value = Number(bytes)
  for (const unit of ['B', 'KB', 'MB', 'GB']) {
    if (value < 1000 || unit === 'GB') return `${value < 10 && unit !== 'B' ? value.toFixed(1) : Math.round(value)} ${unit}`
    value /= 1000
  }
  return ''
}

/** Seconds as `45 s`, `12 min`, `3 h 20 min`, in the page's language. */
export function duration(seconds: number): string {
  if (seconds < 90) return t().seconds(Math.max(1, Math.round(seconds)))
  const minutes = Math.round(seconds / 60)
  return minutes < 90 ? t().minutes(minutes) : t().hours(Math.floor(minutes / 60), minutes % 60)
}

export const secondsOf = (value?: Duration) => (value ? Number(value.seconds) + value.nanos / 1e9 : 0)

export function when(value?: Timestamp): string {
  if (!value) return ''
  const format = new Intl.DateTimeFormat(language(), { dateStyle: 'medium', timeStyle: 'short' })
  return format.format(timestampDate(value))
}

export const count = (value: bigint | number) => new Intl.NumberFormat(language()).format(value)

/** A loss, or any small number, with three digits that matter. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return '–'
  return value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(1) : value.toFixed(value < 1 ? 3 : 2)
}

/** An id out of a person's words; empty when they hold no letter that an id may. */
export function slug(text: string): string {
  const plain = text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase().replace(/[^a-z0-9]+/g, '-')
  return plain.replace(/^[^a-z]+|-+$/g, '').slice(0, 48).replace(/-+$/, '')
}

/** A word that no base model knows yet, near enough to the name to be remembered. */
export function triggerFor(name: string): string {
  const consonants = slug(name).replace(/[aeiou0-9-]/g, '').slice(0, 4)
  return consonants.length < 2 ? 'sks' : `${consonants}x`
}

/** The address of a file behind the gateway; the cookie opens it. */
export const fileOf = (name: string, fileId: string) => `/v1/${name}:download?file_id=${encodeURIComponent(fileId)}`
export const thumbnailOf = (name: string) => `/v1/${name}:download?view=VIEW_THUMBNAIL`
/** The mask; another one has another address, or the page would go on showing the one before. */
export const maskOf = (name: string, sha256: string) => `/v1/${name}:download?view=VIEW_MASK#${sha256}`
export const originalOf = (name: string) => `/v1/${name}:download`

/** In place of a picture that the browser cannot show: its own sign for that looks like a fault of the page. */
export function blank(event: Event): void {
  const image = event.currentTarget as HTMLImageElement
  if (!image.src.startsWith('data:')) image.src = 'data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7'
}

/** A fresh id for a request. crypto.randomUUID is there only behind TLS and on the machine itself. */
export function freshId(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

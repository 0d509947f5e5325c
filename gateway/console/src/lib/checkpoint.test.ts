import { expect, test } from 'vitest'
import { digestOf, headerOf } from './checkpoint'

function file(header: string, more = 100): Blob {
  const length = new Uint8Array(8)
  new DataView(length.buffer).setBigUint64(0, BigInt(header.length), true)
  return new Blob([length, header, new Uint8Array(more)])
}

test('the header ends where the file says', async () => {
  const found = await headerOf(file('{"a": 1}'))
  expect(new TextDecoder().decode(found.slice(8))).toBe('{"a": 1}')
})

test('of what is no such file the first bytes are taken', async () => {
  expect((await headerOf(new Blob(['<!doctype html>' + ' '.repeat(500)]))).length).toBe(72)
  expect((await headerOf(new Blob(['PK']))).length).toBe(2)
  expect((await headerOf(new Blob([]))).length).toBe(0)
})

test('the digest is that of all pieces, and says how far it is', async () => {
  const bytes = new Uint8Array(1_300_000).map((_, place) => place % 251)
  const known = [...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
  const shares: number[] = []
  expect(await digestOf(new Blob([bytes]), (share) => shares.push(share))).toBe(known)
  expect(shares).toHaveLength(3)
  expect(shares.at(-1)).toBe(1)
})

test('reading stops when it is told to', async () => {
  const stop = new AbortController()
  const read = digestOf(new Blob([new Uint8Array(3_000_000)]), () => stop.abort(), stop.signal)
  await expect(read).rejects.toThrow()
})

// The file of a base model, gigabytes of it, before it is sent: its header and its digest, read piece by piece.
import { sha256 } from '@noble/hashes/sha2.js'

/** What the service takes of a header at most; see docs/base-models.md. */
const LONGEST_HEADER = 6 * 1024 * 1024
const LENGTH_BYTES = 8
/** Enough of a file that is no safetensors file to be told what it is. */
const BEGINNING_BYTES = 64
/** Short enough that the page stays quick between two pieces. */
const PIECE_BYTES = 512 * 1024

/** The file's beginning, as CreateBaseModel wants it. */
export async function headerOf(file: Blob): Promise<Uint8Array> {
  const start = await bytesOf(file.slice(0, LENGTH_BYTES))
  const length = start.length === LENGTH_BYTES ? new DataView(start.buffer).getBigUint64(0, true) : 0n
  const whole = BigInt(LENGTH_BYTES) + length
  return bytesOf(file.slice(0, whole <= LONGEST_HEADER ? Number(whole) : LENGTH_BYTES + BEGINNING_BYTES))
}

/** SHA-256 in hex. tell: how much is read, 0 to 1. Throws what the browser says when the file is gone, or `signal` its reason. */
export async function digestOf(file: Blob, tell: (share: number) => void, signal?: AbortSignal): Promise<string> {
  const digest = sha256.create()
  for (let place = 0; place < file.size; place += PIECE_BYTES) {
    signal?.throwIfAborted()
    digest.update(await bytesOf(file.slice(place, place + PIECE_BYTES)))
    tell(Math.min(1, (place + PIECE_BYTES) / file.size))
  }
  return [...digest.digest()].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

const bytesOf = async (part: Blob) => new Uint8Array(await part.arrayBuffer())

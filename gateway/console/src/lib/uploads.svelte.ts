// Uploads go on while one looks at another screen. Three at a time, each with its progress; the refused ones stay.
import { datasets, faultOf, faultOfJson, OWN, type Fault } from './api'
import { captionText, sorted, type Dropped, type Photo } from './drops'
import { freshId } from './format'
import { signedIn } from './session.svelte'
import { t } from './ui.svelte'

const PARALLEL = 3

export interface Upload {
  id: string
  dataset: string
  photo: Photo
  url: string
  sent: number
  state: 'waiting' | 'sending' | 'refused' | 'done'
  fault: Fault | null
}

let list = $state<Upload[]>([])
let arrivals = $state(0)
let passed = $state.raw<string[]>([])

export const uploadsOf = (dataset: string) => list.filter((each) => each.dataset === dataset && each.state !== 'done')
/** Grows with every picture that was stored; whoever shows a dataset reads it again then. */
export const arrived = () => arrivals

/** Names of what the last drop held besides photos and their captions. */
export const passedOver = () => passed

export function upload(dataset: string, photos: Photo[]): void {
  for (const photo of photos) {
    const id = freshId()
    list.push({ id, dataset, photo, url: URL.createObjectURL(photo.file), sent: 0, state: 'waiting', fault: null })
  }
  next()
}

export function again(id: string): void {
  const found = list.find((each) => each.id === id)
  if (found) Object.assign(found, { state: 'waiting', sent: 0, fault: null })
  next()
}

export function dismiss(id: string): void {
  const found = list.find((each) => each.id === id)
  if (found) URL.revokeObjectURL(found.url)
  list = list.filter((each) => each.id !== id)
}

function next(): void {
  while (list.filter((each) => each.state === 'sending').length < PARALLEL) {
    const waiting = list.find((each) => each.state === 'waiting')
    if (!waiting) return
    void send(waiting)
  }
}

async function send(item: Upload): Promise<void> {
  item.state = 'sending'
  const { file, name, caption } = item.photo
  let words = ''
  try {
    words = caption ? await captionText(caption) : ''
  } catch {
    const [message, remedy] = t().photos.captionUnreadable(caption?.name ?? '')
    Object.assign(item, { fault: { message, remedy, reason: 'CAPTION_UNREADABLE', fields: {}, away: false }, state: 'refused' })
    return next()
  }
  // Not URLSearchParams: its plus signs for spaces would become part of the name.
  const query = `file_name=${encodeURIComponent(name.slice(-255))}&request_id=${item.id}${words ? `&caption=${encodeURIComponent(words)}` : ''}`
  const call = new XMLHttpRequest()
  call.open('POST', `/v1/${item.dataset}/images:upload?${query}`)
  for (const [name, value] of Object.entries(OWN)) call.setRequestHeader(name, value)
  call.setRequestHeader('content-type', file.type || 'application/octet-stream')
  call.upload.onprogress = (event) => {
    item.sent = event.total ? event.loaded / event.total : 0
  }
  call.onloadend = () => {
    if (call.status === 200) return void complete(item, String(JSON.parse(call.responseText).name))
    stop(item, faultOfJson(call.status, call.responseText))
  }
  call.send(file)
}

/** What a stored picture gets by another call. When one fails, a further try sends it all again: the same request id gets the first answer. */
async function complete(item: Upload, image: string): Promise<void> {
  const { mask, repeats } = item.photo
  arrivals += 1
  let fault: Fault | null = null
  try {
    if (repeats) await datasets.updateImage({ image: { name: image, numRepeats: repeats }, updateMask: { paths: ['num_repeats'] } })
    fault = mask ? await sendMask(image, mask) : null
  } catch (error) {
    fault = faultOf(error)
  }
  if (fault) return stop(item, fault)
  if (repeats || mask) arrivals += 1
  dismiss(item.id)
  next()
}

async function sendMask(image: string, mask: File): Promise<Fault | null> {
  const headers = { ...OWN, 'content-type': 'image/png' }
  const answer = await fetch(`/v1/${image}:uploadMask`, { method: 'POST', headers, body: mask })
  if (answer.ok) return null
  const fault = faultOfJson(answer.status, await answer.text())
  return { ...fault, message: `${mask.name}: ${fault.message}` }
}

function stop(item: Upload, fault: Fault): void {
  if (fault.out) return void afterSignIn(item, fault)
  Object.assign(item, { fault, state: 'refused' })
  next()
}

/** The session has ended: the file is sent once the same one is back. */
async function afterSignIn(item: Upload, fault: Fault): Promise<void> {
  const same = await signedIn()
  Object.assign(item, same ? { state: 'waiting', sent: 0 } : { fault, state: 'refused' })
  next()
}

/** The photos of a choice, with their captions. What else there is, `passedOver` names. */
export function taken(dropped: Dropped[]): Photo[] {
  const found = sorted(dropped)
  passed = found.passed
  return found.photos
}

/** The photos of a drop, folders opened. */
export async function photosOf(data: DataTransfer): Promise<Photo[]> {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry != null)
  if (!entries.some((entry) => entry.isDirectory)) return taken([...data.files].map((file) => ({ file, path: file.name })))
  const found: Dropped[] = []
  await Promise.all(entries.map((entry) => walk(entry, found)))
  return taken(found)
}

async function walk(entry: FileSystemEntry, found: Dropped[]): Promise<void> {
  if (entry.isFile) {
    const file = await new Promise<File>((done, fail) => (entry as FileSystemFileEntry).file(done, fail))
    found.push({ file, path: entry.fullPath.replace(/^\//, '') })
    return
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((done, fail) => reader.readEntries(done, fail))
    if (!some.length) return
    for (const each of some) await walk(each, found)
  }
}

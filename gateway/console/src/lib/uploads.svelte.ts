// Uploads go on while one looks at another screen. Three at a time, each with its progress; the refused ones stay.
import { faultOfJson, OWN, type Fault } from './api'
import { freshId } from './format'
import { signedIn } from './session.svelte'

const PARALLEL = 3
const PICTURE = /\.(jpe?g|png|webp|heic|heif|gif|bmp|tiff?|avif)$/i

export interface Upload {
  id: string
  dataset: string
  file: File
  url: string
  sent: number
  state: 'waiting' | 'sending' | 'refused' | 'done'
  fault: Fault | null
}

let list = $state<Upload[]>([])
let arrivals = $state(0)

export const uploadsOf = (dataset: string) => list.filter((each) => each.dataset === dataset && each.state !== 'done')
/** Grows with every picture that was stored; whoever shows a dataset reads it again then. */
export const arrived = () => arrivals

export function upload(dataset: string, files: File[]): void {
  for (const file of files) {
    const id = freshId()
    list.push({ id, dataset, file, url: URL.createObjectURL(file), sent: 0, state: 'waiting', fault: null })
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
    send(waiting)
  }
}

function send(item: Upload): void {
  item.state = 'sending'
  // Not URLSearchParams: its plus signs for spaces would become part of the name.
  const query = `file_name=${encodeURIComponent(item.file.name.slice(-255))}&request_id=${item.id}`
  const call = new XMLHttpRequest()
  call.open('POST', `/v1/${item.dataset}/images:upload?${query}`)
  for (const [name, value] of Object.entries(OWN)) call.setRequestHeader(name, value)
  call.setRequestHeader('content-type', item.file.type || 'application/octet-stream')
  call.upload.onprogress = (event) => {
    item.sent = event.total ? event.loaded / event.total : 0
  }
  call.onloadend = () => {
    if (call.status === 200) {
      dismiss(item.id)
      arrivals += 1
    } else {
      const fault = faultOfJson(call.status, call.responseText)
      if (fault.out) return void afterSignIn(item, fault)
      Object.assign(item, { fault, state: 'refused' })
    }
    next()
  }
  call.send(item.file)
}

/** The session has ended: the file is sent once the same one is back. */
async function afterSignIn(item: Upload, fault: Fault): Promise<void> {
  const same = await signedIn()
  Object.assign(item, same ? { state: 'waiting', sent: 0 } : { fault, state: 'refused' })
  next()
}

/** The files of a drop or a choice, folders opened. What is plainly no picture is left out. */
export async function filesOf(data: DataTransfer): Promise<File[]> {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry != null)
  if (!entries.some((entry) => entry.isDirectory)) return [...data.files]
  const found: File[] = []
  await Promise.all(entries.map((entry) => walk(entry, found)))
  return found.filter((file) => PICTURE.test(file.name))
}

async function walk(entry: FileSystemEntry, found: File[]): Promise<void> {
  if (entry.isFile) {
    found.push(await new Promise<File>((done, fail) => (entry as FileSystemFileEntry).file(done, fail)))
    return
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((done, fail) => reader.readEntries(done, fail))
    if (!some.length) return
    for (const each of some) await walk(each, found)
  }
}

// A project's own base models: which there are, and the files on their way to them. A file goes on its way while one looks at another screen.
import { fromJson } from '@bufbuild/protobuf'
import { Code, ConnectError } from '@connectrpc/connect'
import { BaseModel_State as State, BaseModelSchema, type BaseModel } from '../gen/fiveshot/trainer/v1/base_model_pb'
import { all, faultOf, faultOfJson, OWN, trainer, type Fault } from './api'
import { digestOf, headerOf } from './checkpoint'
import { idOf } from './format'
import { signedIn } from './session.svelte'

/** As large as the service's own parts: a line that breaks costs one of them. */
const PART_BYTES = 32 * 1024 * 1024
const PAUSES_MS = [1000, 2000, 5000, 10_000]

/** What one says of a file: shown, and kept with it. */
export interface About {
  id: string
  displayName: string
  license: string
  basedOn: string
}

export interface Sending {
  /** Of the base model that it becomes. */
  name: string
  file: File
  about: About
  state: 'reading' | 'sending' | 'away' | 'refused'
  /** Of what it does, 0 to 1. */
  share: number
  fault: Fault | null
}

const own = $state({
  project: '',
  models: [] as BaseModel[],
  loaded: false,
  /** Whether the server has such base models at all. */
  offered: true,
  fault: null as Fault | null,
})
let list = $state<Sending[]>([])
const stops = new Map<string, AbortController>()

export const ownBaseModels = () => own
export const sendingOf = (project: string) => list.filter((each) => each.name.startsWith(`${project}/`))

addEventListener('beforeunload', (event) => {
  if (list.some((each) => each.state !== 'refused')) event.preventDefault()
})

/** Reads which there are. */
export async function loadOwn(project: string): Promise<void> {
  if (own.project !== project) Object.assign(own, { project, models: [], loaded: false })
  try {
    const models = await all(async (pageToken) => {
      const page = await trainer.listOwnBaseModels({ parent: project, pageSize: 200, pageToken })
      return [page.baseModels, page.nextPageToken]
    })
    if (own.project === project) Object.assign(own, { models, loaded: true, offered: true, fault: null })
  } catch (error) {
    const gone = ConnectError.from(error).code === Code.Unimplemented
    if (own.project === project) Object.assign(own, { loaded: true, offered: !gone, fault: gone ? null : faultOf(error) })
  }
}

/** Takes a file for a new base model, or for one whose upload broke off. */
export function begin(project: string, file: File, about: About): void {
  const name = `${project}/baseModels/${about.id}`
  dismiss(name)
  list.push({ name, file, about, state: 'reading', share: 0, fault: null })
  void run(name)
}

/** Takes it off the list; what has arrived stays on the server. */
export function dismiss(name: string): void {
  stops.get(name)?.abort()
  stops.delete(name)
  list = list.filter((each) => each.name !== name)
}

async function run(name: string): Promise<void> {
  const item = list.find((each) => each.name === name)!
  const stop = new AbortController()
  stops.set(name, stop)
  try {
    const digest = await digestOf(item.file, (share) => (item.share = share), stop.signal)
    let model = await announced(item, digest)
    void loadOwn(projectOf(name))
    for (let tries = 0; model.state === State.UPLOADING; ) {
      const before = model.uploadedBytes
      Object.assign(item, { state: 'sending', share: Number(before) / item.file.size })
      const fault = await part(item, before, stop.signal, (next) => (model = next))
      if (stop.signal.aborted) return
      if (!fault || (fault.out && (await signedIn()))) {
        tries = 0
        continue
      }
      // What came of the last part is on the server; another fault than a broken line is final.
      if (!fault.away && fault.reason !== 'UPLOAD_OFFSET') throw new Refused(fault)
      item.state = 'away'
      await pause(PAUSES_MS[Math.min(tries, PAUSES_MS.length - 1)]!, stop.signal)
      tries += 1
      model = await trainer.getBaseModel({ name }).catch(() => model)
    }
    dismiss(name)
  } catch (error) {
    if (stop.signal.aborted) return
    Object.assign(item, { state: 'refused', fault: error instanceof Refused ? error.fault : faultOf(error) })
  }
  await loadOwn(projectOf(name))
}

class Refused extends Error {
  constructor(readonly fault: Fault) {
    super(fault.message)
  }
}

async function announced(item: Sending, sha256: string): Promise<BaseModel> {
  const { id: baseModelId, displayName, license, basedOn } = item.about
  const baseModel = { displayName, license, basedOn, fileName: item.file.name, sizeBytes: BigInt(item.file.size), sha256 }
  try {
    return await trainer.createBaseModel({ parent: projectOf(item.name), baseModelId, baseModel, header: await headerOf(item.file) })
  } catch (error) {
    if (ConnectError.from(error).code !== Code.AlreadyExists) throw error
    const found = await trainer.getBaseModel({ name: item.name }).catch(() => null)
    if (found?.sha256 !== sha256 || found.state !== State.UPLOADING) throw error
    return found
  }
}

/** Sends the next part. Resolves with what went wrong, null for nothing. */
function part(item: Sending, offset: bigint, signal: AbortSignal, take: (model: BaseModel) => void): Promise<Fault | null> {
  return new Promise((done) => {
    const call = new XMLHttpRequest()
    signal.addEventListener('abort', () => call.abort(), { once: true })
    call.open('POST', `/v1/${item.name}:upload?offset=${offset}`)
    for (const [key, value] of Object.entries(OWN)) call.setRequestHeader(key, value)
    call.setRequestHeader('content-type', 'application/octet-stream')
    call.upload.onprogress = (event) => (item.share = (Number(offset) + event.loaded) / item.file.size)
    call.onloadend = () => {
      if (call.status !== 200) return done(faultOfJson(call.status, call.responseText))
      take(fromJson(BaseModelSchema, JSON.parse(call.responseText), { ignoreUnknownFields: true }))
      done(null)
    }
    call.send(item.file.slice(Number(offset), Number(offset) + PART_BYTES))
  })
}

const pause = (ms: number, signal: AbortSignal) =>
  new Promise<void>((done) => {
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', () => (clearTimeout(timer), done()), { once: true })
  })

const projectOf = (name: string) => name.slice(0, -idOf(name).length - '/baseModels/'.length)

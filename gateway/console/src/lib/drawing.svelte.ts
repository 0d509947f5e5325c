// Pictures that are asked for: a request, watched until its end across broken lines. It goes on when the page is left.
import { PreviewRequest_State as State, type PreviewRequest } from '../gen/fiveshot/trainer/v1/preview_request_pb'
import { all, faultOf, trainer, type Fault } from './api'
import { freshId } from './format'
import { signedIn } from './session.svelte'

const PAUSES_MS = [500, 1000, 2000, 4000, 8000]
const NEWEST = 200

export type Ask = Parameters<typeof trainer.requestPreviews>[0]['previewRequest']

export const drawing = (request: PreviewRequest | null) => !!request && [State.QUEUED, State.RUNNING].includes(request.state)

export class Drawing {
  request = $state.raw<PreviewRequest | null>(null)
  fault = $state.raw<Fault | null>(null)
  away = $state(false)
  asking = $state(false)
  #stop = new AbortController()
  // One id a question: a call that is sent again makes no second request.
  #id = { asked: '', request: '' }

  /** Whether it was accepted; otherwise `fault` says why not. */
  async ask(parent: string, previewRequest: NonNullable<Ask>): Promise<boolean> {
    const asked = JSON.stringify(previewRequest, (_, value) => (typeof value === 'bigint' ? String(value) : value))
    if (asked !== this.#id.asked) this.#id = { asked, request: freshId() }
    this.asking = true
    this.fault = null
    try {
      const made = await trainer.requestPreviews({ parent, previewRequest, requestId: this.#id.request })
      this.#id = { asked: '', request: '' }
      void this.follow(made)
      return true
    } catch (error) {
      this.fault = faultOf(error)
      return false
    } finally {
      this.asking = false
    }
  }

  /** Shows a request, and watches it while it is drawn. */
  async follow(request: PreviewRequest): Promise<void> {
    this.close()
    const stop = (this.#stop = new AbortController())
    this.request = request
    this.fault = null
    for (let failures = 0; drawing(this.request) && !stop.signal.aborted; ) {
      try {
        for await (const { previewRequest } of trainer.watchPreviewRequest({ name: request.name }, { signal: stop.signal })) {
          failures = 0
          this.away = false
          if (previewRequest) this.request = previewRequest
        }
      } catch (error) {
        if (stop.signal.aborted) return
        const fault = faultOf(error)
        if (fault.out && (await signedIn())) continue
        if (!fault.away && failures > 0) {
          this.fault = fault
          return
        }
        this.away = true
        await new Promise((done) => setTimeout(done, PAUSES_MS[Math.min(failures++, PAUSES_MS.length - 1)]))
      }
    }
  }

  async cancel(): Promise<void> {
    const name = this.request?.name
    if (!name) return
    try {
      const ended = await trainer.cancelPreviewRequest({ name })
      if (this.request?.name === name) this.request = ended
    } catch (error) {
      this.fault = faultOf(error)
    }
  }

  /** Stops watching; what is being drawn goes on. */
  close(): void {
    this.#stop.abort()
    this.away = false
  }
}

/** Requests of the last day that draw something of a job or a model, newest first. of: its name. */
export async function drawnOf(parent: string, of: string): Promise<PreviewRequest[]> {
  let left = NEWEST
  const found = await all(async (pageToken) => {
    const page = await trainer.listPreviewRequests({ parent, pageSize: 100, pageToken })
    left -= page.previewRequests.length
    return [page.previewRequests, left > 0 ? page.nextPageToken : '']
  })
  return found.filter((each) => each.sources.some((source) => source === of || source.startsWith(`${of}/`)))
}

// A job as it runs: a snapshot, then every event. A broken line is taken up again with the last token, so nothing is
// missed and nothing counted twice.
import { ListMetricsRequestSchema } from '../gen/fiveshot/trainer/v1/training_service_pb'
import { TrainingJob_State as State, type Epoch, type TrainingJob } from '../gen/fiveshot/trainer/v1/training_job_pb'
import type { TrainingJobEvent } from '../gen/fiveshot/trainer/v1/training_event_pb'
import { create } from '@bufbuild/protobuf'
import { all, faultOf, trainer, type Fault } from './api'
import { strideFor } from './curve'
import { atFault } from './place.svelte'
import { session, signedIn } from './session.svelte'

// Few enough that decoding one never holds the page up.
const PAGE = 2000
// Nothing for so long, and the line is taken up anew: a line that broke in a sleep says nothing.
const SILENCE_MS = 45_000
const LOOK_MS = 5000
const QUEUE_MS = 4000
const METRICS_MS = 1000
const PAUSES_MS = [500, 1000, 2000, 4000, 8000]

export const ENDED = [State.SUCCEEDED, State.FAILED, State.CANCELLED]
export const ended = (job: TrainingJob | null) => !!job && ENDED.includes(job.state)

export class Follow {
  job = $state.raw<TrainingJob | null>(null)
  epochs = $state.raw<Epoch[]>([])
  eta = $state(0)
  away = $state(false)
  fault = $state.raw<Fault | null>(null)
  /** Steps, losses; replaced when points arrive. */
  points = $state.raw<{ steps: number[]; losses: number[] }>({ steps: [], losses: [] })

  #name: string
  #token = ''
  #stop = new AbortController()
  #line: AbortController | null = null
  #metricsDue = false
  #fetching = false
  #stride = 1
  #heard = Date.now()
  #looked = Date.now()

  constructor(name: string) {
    this.#name = name
    void this.#run()
    addEventListener('online', this.#wake)
    document.addEventListener('visibilitychange', this.#wake)
  }

  close(): void {
    this.#stop.abort()
    this.#line?.abort()
    removeEventListener('online', this.#wake)
    document.removeEventListener('visibilitychange', this.#wake)
  }

  /** After a command: the answer is the job as it is now. */
  take(job: TrainingJob): void {
    const reopened = ended(this.job) && !ended(job)
    this.job = job
    if (reopened) void this.#run()
  }

  #pause: (() => void) | null = null
  #wake = () => {
    if (document.visibilityState !== 'visible') return
    this.#pause?.()
    // A line that was silent while the page was out of sight may be dead without a word.
    if (Date.now() - this.#heard > LOOK_MS) this.#anew()
  }

  #anew(): void {
    this.#heard = Date.now()
    this.#line?.abort()
  }

  /** A clock that jumped means that the machine slept; a long silence may mean that the line is gone. */
  #guard = () => {
    const now = Date.now()
    if (now - this.#looked > 4 * LOOK_MS || now - this.#heard > SILENCE_MS) this.#anew()
    this.#looked = now
  }

  async #run(): Promise<void> {
    let failures = 0
    const queue = setInterval(() => this.job?.state === State.QUEUED && session.state === 'in' && void this.#look(), QUEUE_MS)
    const guard = setInterval(this.#guard, LOOK_MS)
    this.#stop.signal.addEventListener('abort', () => (clearInterval(queue), clearInterval(guard)))
    while (!this.#stop.signal.aborted) {
      try {
        const line = (this.#line = new AbortController())
        this.#heard = Date.now()
        const call = { name: this.#name, resumeToken: this.#token }
        for await (const message of trainer.watchTrainingJob(call, { signal: line.signal })) {
          failures = 0
          this.away = false
          this.#heard = Date.now()
          this.#token = message.resumeToken
          if (message.update.case === 'job') await this.#snapshot(message.update.value)
          else if (message.update.case === 'event') this.#event(message.update.value)
        }
        await this.#look()
        if (ended(this.job)) break
      } catch (error) {
        if (this.#stop.signal.aborted) break
        if (this.#line?.signal.aborted) continue
        const fault = faultOf(error)
        if (fault.out && (await signedIn())) continue
        if (fault.gone || (!fault.away && failures > 0)) {
          this.fault = atFault(fault)
          break
        }
        this.away = true
      }
      const pause = PAUSES_MS[Math.min(failures++, PAUSES_MS.length - 1)]
      await new Promise<void>((done) => {
        this.#pause = done
        setTimeout(done, pause)
      })
    }
    clearInterval(queue)
    clearInterval(guard)
  }

  async #look(): Promise<void> {
    try {
      this.job = await trainer.getTrainingJob({ name: this.#name })
      await this.#metrics()
    } catch {
      // The watch says what is wrong.
    }
  }

  async #snapshot(job: TrainingJob): Promise<void> {
    // Both at once: a job without its epochs would look as if it had none.
    const epochs = await all(async (pageToken) => {
      const page = await trainer.listEpochs({ parent: this.#name, pageSize: 500, pageToken })
      return [page.epochs, page.nextPageToken]
    })
    this.job = job
    this.epochs = epochs
    await this.#metrics()
  }

  #event(event: TrainingJobEvent): void {
    if (!this.job) return
    const job = { ...this.job, state: event.state }
    const payload = event.payload
    if (payload.case === 'progress') {
      const { step, totalSteps, loss, imagesPerSecond, phase, etaSeconds } = payload.value
      Object.assign(job, { step, totalSteps, loss: loss || job.loss, imagesPerSecond, phase })
      this.eta = etaSeconds
      this.#soon()
    } else if (payload.case === 'stateChanged') {
      job.error = payload.value.error
      void this.#look()
    } else if (payload.case === 'epochCompleted' && payload.value.epoch) {
      const epoch = payload.value.epoch
      this.epochs = [...this.epochs.filter((each) => each.name !== epoch.name), epoch]
      job.epochsCompleted = this.epochs.length
      this.#soon()
    } else if (payload.case === 'basePreviewsCompleted') {
      job.basePreviews = payload.value.previews
    }
    this.job = job
  }

  #soon(): void {
    if (this.#metricsDue) return
    this.#metricsDue = true
    setTimeout(() => {
      this.#metricsDue = false
      void this.#metrics().catch(() => undefined)
    }, METRICS_MS)
  }

  async #metrics(): Promise<void> {
    if (this.#fetching || !this.job) return
    this.#fetching = true
    try {
      const stride = strideFor(Number(this.job.totalSteps))
      // An extended job may be coarser than before: its curve is drawn anew.
      const { steps, losses } = stride === this.#stride ? this.points : { steps: [], losses: [] }
      this.#stride = stride
      const grown = { steps: [...steps], losses: [...losses] }
      let since = BigInt(steps.at(-1) ?? 0)
      for (;;) {
        const asks = create(ListMetricsRequestSchema, { parent: this.#name, key: 'loss', sinceStep: since, stride, pageSize: PAGE })
        const page = await trainer.listMetrics(asks)
        for (const point of page.metrics) {
          const step = Number(point.step)
          // A job that resumes from an earlier epoch walks some steps again.
          if (step <= (grown.steps.at(-1) ?? 0)) continue
          grown.steps.push(step)
          grown.losses.push(point.value)
        }
        if (!page.nextSinceStep) break
        since = page.nextSinceStep
      }
      if (grown.steps.length !== steps.length) this.points = grown
    } finally {
      this.#fetching = false
    }
  }
}

// What a training would learn badly of a dataset, and the calls that mend it, which the server sends along.
import { anyUnpack } from '@bufbuild/protobuf/wkt'
import type { DescMessage } from '@bufbuild/protobuf'
import { AuditFinding_Severity as Severity, DatasetAudit_Verdict as Verdict, type AuditFinding, type DatasetAudit } from '../gen/fiveshot/trainer/v1/audit_pb'
import { DatasetService } from '../gen/fiveshot/dataset/v1/dataset_service_pb'
import { TaggerService } from '../gen/fiveshot/tagger/v1/tagger_service_pb'
import { TagJob_State } from '../gen/fiveshot/tagger/v1/tagger_pb'
import type { TrainingJob } from '../gen/fiveshot/trainer/v1/training_job_pb'
import { AGAIN_MS, datasets, faultOf, tagger, trainer, type Fault } from './api'

export { Severity, Verdict }
type Asked = Parameters<typeof trainer.auditDataset>[0]['trainingJob']
const PAUSE_MS = 400
/** Only these change a dataset; whatever else a server names as a fix is not offered. */
const METHODS = ['updateDataset', 'batchDeleteImages', 'batchUpdateImages', 'editTags'] as const
type Call = (request: unknown) => Promise<unknown>

function callOf(method: string): { input: DescMessage; call: Call } | null {
  const [service, name = ''] = method.split('/')
  const local = name.charAt(0).toLowerCase() + name.slice(1)
  if (service === DatasetService.typeName && (METHODS as readonly string[]).includes(local)) {
    const key = local as (typeof METHODS)[number]
    return { input: DatasetService.method[key].input, call: datasets[key] as Call }
  }
  if (service === TaggerService.typeName && local === 'tagImages') {
    return { input: TaggerService.method.tagImages.input, call: tagged }
  }
  if (service === TaggerService.typeName && local === 'cropImages') {
    return { input: TaggerService.method.cropImages.input, call: tagger.cropImages as Call }
  }
  return null
}

/** A tag job is done when its pictures are. */
async function tagged(request: unknown): Promise<void> {
  let job = await tagger.tagImages(request as Parameters<typeof tagger.tagImages>[0])
  for await (const now of tagger.watchTagJob({ name: job.name })) job = now
  if (job.state === TagJob_State.FAILED) throw new Error(job.error)
}

export const mendable = (finding: AuditFinding) => !!finding.fix?.request && callOf(finding.fix.method) !== null
/** Whether the fix takes pictures away, which nothing brings back. */
export const deletes = (finding: AuditFinding) => !!finding.fix?.method.endsWith('/BatchDeleteImages')

export class Audit {
  answer = $state.raw<DatasetAudit | null>(null)
  fault = $state.raw<Fault | null>(null)
  busy = $state(false)
  #timer = 0
  #asked = 0

  /** Asks soon; a later question takes the place of one that waits. */
  ask(parent: string, trainingJob: Asked): void {
    clearTimeout(this.#timer)
    this.busy = true
    this.#timer = window.setTimeout(async () => {
      const mine = ++this.#asked
      try {
        const found = await trainer.auditDataset({ parent, trainingJob })
        if (mine !== this.#asked) return
        this.answer = found
        this.fault = null
      } catch (error) {
        if (mine !== this.#asked) return
        this.answer = null
        this.fault = faultOf(error)
        if (this.fault.away) this.#timer = window.setTimeout(() => this.ask(parent, trainingJob), AGAIN_MS)
      }
      this.busy = false
    }, PAUSE_MS)
  }

  /** The findings that name this image. */
  of(name: string): AuditFinding[] {
    return this.answer?.findings.filter((finding) => finding.images.includes(name)) ?? []
  }

  /** Sends the finding's fix, of one image or of all that it names; throws what the call throws. */
  async mend(finding: AuditFinding, image = ''): Promise<void> {
    const found = callOf(finding.fix?.method ?? '')
    const request = found && finding.fix?.request ? anyUnpack(finding.fix.request, found.input) : undefined
    if (!found || !request) return
    const many = request as { requests?: { name?: string; image?: { name: string } }[] }
    if (image && many.requests) many.requests = many.requests.filter((each) => (each.image?.name ?? each.name) === image)
    await found.call(request)
  }
}

export type { AuditFinding, TrainingJob }

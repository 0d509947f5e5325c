// The services over gRPC-Web, and the errors of all calls in one form.
import { fromJson } from '@bufbuild/protobuf'
import { Code, ConnectError, createClient, type Interceptor } from '@connectrpc/connect'
import { createGrpcWebTransport } from '@connectrpc/connect-web'
import { DatasetService } from '../gen/fiveshot/dataset/v1/dataset_service_pb'
import { AuditService } from '../gen/fiveshot/audit/v1/audit_service_pb'
import { NotifierService } from '../gen/fiveshot/notifier/v1/notifier_service_pb'
import { RegistryService } from '../gen/fiveshot/registry/v1/registry_service_pb'
import { TaggerService } from '../gen/fiveshot/tagger/v1/tagger_service_pb'
import { TrainingService } from '../gen/fiveshot/trainer/v1/training_service_pb'
import { BadRequestSchema, ErrorInfoSchema } from '../gen/google/rpc/error_details_pb'
import { signedIn, signedOut } from './session.svelte'

/** Shows the gateway that a page of its own makes the call; see gateway/authz.py. */
export const OWN = { 'x-fiveshot-console': '1' }

const own: Interceptor = (next) => (call) => {
  for (const [name, value] of Object.entries(OWN)) call.header.set(name, value)
  return next(call)
}

const PAUSES_MS = [300, 1000, 2500]
/** After which a page asks again by itself what it could not ask; it says so. */
export const AGAIN_MS = 3000

/** What only looks is asked again when the service is away for a moment. */
const again: Interceptor = (next) => async (call) => {
  const looks = !call.stream && /^(Get|List|Estimate|BatchGet)/.test(call.method.name)
  for (const pause of looks ? PAUSES_MS : []) {
    try {
      return await next(call)
    } catch (error) {
      const code = ConnectError.from(error).code
      if (code !== Code.Unavailable && code !== Code.ResourceExhausted) throw error
      await new Promise((done) => setTimeout(done, pause))
    }
  }
  return next(call)
}

/** A call that finds the session ended waits for the next sign-in. As somebody else it is not made: they did not ask for it. */
const held: Interceptor = (next) => async (call) => {
  for (;;) {
    try {
      return await next(call)
    } catch (error) {
      if (ConnectError.from(error).code !== Code.Unauthenticated) throw error
      faultOf(error)
      if (!(await signedIn())) throw error
    }
  }
}

const transport = createGrpcWebTransport({ baseUrl: location.origin, interceptors: [held, again, own] })
export const datasets = createClient(DatasetService, transport)
export const tagger = createClient(TaggerService, transport)
export const trainer = createClient(TrainingService, transport)
export const registry = createClient(RegistryService, transport)
export const notifier = createClient(NotifierService, transport)
export const auditLog = createClient(AuditService, transport)

/** An error as people read it. fields: path of the wrong field -> what is wrong. */
export interface Fault {
  message: string
  remedy: string
  reason: string
  fields: Record<string, string>
  away: boolean
  /** What was asked for is not there, or not any more. */
  gone?: boolean
  /** Nobody is signed in any more; see signedIn(). */
  out?: boolean
}

export function faultOf(error: unknown): Fault {
  const found = ConnectError.from(error)
  const info = found.findDetails(ErrorInfoSchema)[0]
  const fields: Record<string, string> = {}
  for (const each of found.findDetails(BadRequestSchema)) {
    for (const one of each.fieldViolations) fields[one.field] = one.description
  }
  const away = found.code === Code.Unavailable || (found.code === Code.Unknown && !info)
  const fault = { message: found.rawMessage, remedy: info?.metadata.remedy ?? '', reason: info?.reason ?? '', fields, away, gone: found.code === Code.NotFound, out: found.code === Code.Unauthenticated }
  if (fault.out) signedOut(fault)
  return fault
}

/** The error of a call over plain HTTP, whose body is a google.rpc.Status in JSON. */
export function faultOfJson(status: number, text: string): Fault {
  const fault: Fault = { message: `HTTP ${status}`, remedy: '', reason: '', fields: {}, away: status === 0 || status === 503, gone: status === 404, out: status === 401 }
  try {
    const document = JSON.parse(text)
    fault.message = String(document.message ?? fault.message)
    for (const detail of document.details ?? []) {
      const { '@type': kind, ...rest } = detail
      if (String(kind).endsWith('ErrorInfo')) {
        const info = fromJson(ErrorInfoSchema, rest, { ignoreUnknownFields: true })
        fault.reason = info.reason
        fault.remedy = info.metadata.remedy ?? ''
      } else if (String(kind).endsWith('BadRequest')) {
        for (const one of fromJson(BadRequestSchema, rest, { ignoreUnknownFields: true }).fieldViolations) {
          fault.fields[one.field] = one.description
        }
      }
    }
  } catch {
    // Not from the gateway: its status is all that is known.
  }
  if (fault.out) signedOut(fault)
  return fault
}

/** All pages of a list. */
export async function all<T>(page: (token: string) => Promise<[T[], string]>): Promise<T[]> {
  const found: T[] = []
  let token = ''
  do {
    const [items, next] = await page(token)
    found.push(...items)
    token = next
  } while (token)
  return found
}

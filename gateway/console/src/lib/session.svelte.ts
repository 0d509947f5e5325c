// Who is signed in. The cookie itself is out of a script's reach; the gateway says what it stands for.
import { faultOfJson, OWN, type Fault } from './api'

const PATH = '/console/session'

export const session = $state({
  state: 'unknown' as 'unknown' | 'out' | 'in',
  projects: [] as string[],
  role: 'reader',
  /** The key, or the person at the identity provider, that the session stands for. */
  key: '',
  /** When it ends. */
  until: '',
  fault: null as Fault | null,
})

// Calls that were refused because the session ended wait here, and are made again once the same one is back.
let waiting: ((same: boolean) => void)[] = []
let last = ''

/** Resolves once somebody is signed in: true when it is whoever was before, so that their calls may be made again. */
export function signedIn(): Promise<boolean> {
  if (session.state === 'in') return Promise.resolve(true)
  return new Promise((done) => waiting.push(done))
}

function back(key: string): void {
  const same = !last || last === key
  last = key
  const told = waiting
  waiting = []
  told.forEach((tell) => tell(same))
  // Pictures that were refused meanwhile.
  for (const image of document.images) if (image.complete && !image.naturalWidth && image.src) image.src = image.src
}

/** Reads the session, or makes one with a one-time code or an API key. */
export async function enter(credential: Record<string, string> = {}): Promise<void> {
  const asks = Object.keys(credential).length > 0
  try {
    const answer = await fetch(PATH, { method: asks ? 'POST' : 'GET', headers: { ...OWN, ...credential } })
    const text = await answer.text()
    if (!answer.ok) {
      const fault = faultOfJson(answer.status, text)
      session.fault = asks || fault.reason !== 'CREDENTIALS_MISSING' ? fault : null
      session.state = 'out'
      return
    }
    const document = JSON.parse(text)
    Object.assign(session, { state: 'in', projects: document.projects, role: document.role, key: document.key ?? '', until: document.expireTime ?? '', fault: null })
    back(session.key)
  } catch {
    session.fault = faultOfJson(0, '')
    session.state = 'out'
  }
}

/** Whether somebody has signed in meanwhile, in another tab: the sign-in goes away then. */
export async function glance(): Promise<void> {
  const answer = await fetch(PATH, { headers: OWN }).catch(() => null)
  if (answer?.ok && session.state === 'out') await enter()
}

/** How the identity provider is called where browsers may sign in; empty when there is none. */
export async function provider(): Promise<string> {
  try {
    const answer = await fetch('/console/oidc', { headers: OWN })
    return answer.ok ? (await answer.json()).name : ''
  } catch {
    return ''
  }
}

/** Goes there, and comes back to where the page is now. beside: in a tab of its own, so that what is typed on this page stays. */
export function signInAtProvider(beside: boolean): void {
  const address = `/console/oidc/start?to=${encodeURIComponent(location.hash.replace(/^#/, ''))}`
  if (!beside || !open(address, '_blank')) location.assign(address)
}

export async function leave(): Promise<void> {
  await fetch(PATH, { method: 'DELETE', headers: OWN })
  // Whoever comes next finds nothing of this visit.
  location.reload()
}

/** A call was refused because the session ended. What is on the page stays; the sign-in lies above it. */
export function signedOut(fault: Fault): void {
  if (session.state === 'in') Object.assign(session, { state: 'out', fault })
}

export const isAdmin = () => session.role === 'admin'
export const mayChange = () => session.role !== 'reader'

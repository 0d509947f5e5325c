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
  } catch {
    session.fault = faultOfJson(0, '')
    session.state = 'out'
  }
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

/** Goes there, and comes back to where the page is now. */
export function signInAtProvider(): void {
  location.assign(`/console/oidc/start?to=${encodeURIComponent(location.hash.replace(/^#/, ''))}`)
}

export async function leave(): Promise<void> {
  await fetch(PATH, { method: 'DELETE', headers: OWN })
  session.state = 'out'
  session.fault = null
}

/** A call was refused because the session ended. What is on the page stays; the sign-in lies above it. */
export function signedOut(fault: Fault): void {
  if (session.state === 'in') Object.assign(session, { state: 'out', fault })
}

export const isAdmin = () => session.role === 'admin'
export const mayChange = () => session.role !== 'reader'

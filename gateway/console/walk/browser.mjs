// What every walk begins with: a real Chromium, a page whose complaints are kept, screenshots in each view with axe.
import { readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'
import { chromium } from 'playwright-core'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const PATIENCE = 1000 * Number(process.env.WALK_PATIENCE_S ?? 240)
const ALL = process.env.WALK_ALL === '1'
const FIRST = ['en', 'light', 1280, 860]
const OTHERS = [
  ['en', 'dark', 1440, 900], ['zh-CN', 'light', 1440, 900], ['zh-CN', 'dark', 390, 800], ['en', 'light', 360, 740],
  ['zh-CN', 'dark', 360, 740], ['en', 'light', 2560, 1400], ['en', 'dark', 3840, 2160],
]

/** shots: the folder for screenshots; '' for none. */
export async function start(shots) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  })
  const context = await browser.newContext({ viewport: { width: FIRST[2], height: FIRST[3] }, locale: 'en-GB', acceptDownloads: true, bypassCSP: false })
  const page = await context.newPage()
  page.setDefaultTimeout(PATIENCE)
  const complaints = []
  // What the screens lack, told together at the end.
  const faults = []
  page.on('console', (message) => {
    // What a walk provokes on purpose: refusals, the cut line, the look for a session before there is one.
    const wanted = /Failed to load resource|net::ERR/.test(message.text())
    if (message.type() === 'error' && !wanted) complaints.push(message.text())
  })
  page.on('pageerror', (error) => complaints.push(String(error)))
  // Content that moves without having been asked to, as the browser itself counts it.
  await page.addInitScript(() => {
    window.jumps = []
    new PerformanceObserver((list) => {
      for (const each of list.getEntries()) if (!each.hadRecentInput) window.jumps.push({ value: each.value, what: each.sources.map((source) => source.node?.className ?? '').join(' ') })
    }).observe({ type: 'layout-shift', buffered: true })
  })
  if (shots) await mkdir(shots, { recursive: true })

  /** Sets language and theme by the page's own buttons, from under a dialog too. */
  async function wear(language, theme, width, height) {
    await page.setViewportSize({ width, height })
    await page.evaluate(
      ([wanted, look]) => {
        const press = (found) => found && (found.click(), true)
        const buttons = () => [...document.querySelectorAll('button')]
        // Where a sign-in lies above the page, its button is the last one.
        press(buttons().findLast((each) => each.textContent.trim() === (wanted === 'en' ? 'English' : '中文')))
        // The theme's button goes round three states; before signing in there is none.
        for (let turn = 0; turn < 3 && document.documentElement.dataset.theme !== look; turn += 1) {
          if (!press(buttons().find((each) => '◐☀☾'.includes(each.textContent.trim())))) document.documentElement.dataset.theme = look
        }
      },
      [language, theme],
    )
  }

  /** The screen as it is in each view: nothing is wider than the page, and axe finds nothing serious. */
  async function look(name, { whole = true, pictures = true, views = ALL ? [FIRST, ...OTHERS] : [FIRST] } = {}) {
    for (const [language, theme, width, height] of views) {
      await wear(language, theme, width, height)
      // What sticks to the screen's edge is photographed in the middle of a page that has been scrolled.
      if (whole) await page.evaluate(() => scrollTo(0, 0))
      await page.evaluate(() => Promise.all([...document.images].map((image) => image.loading === 'lazy' || image.decode().catch(() => undefined))))
      if (shots) await page.screenshot({ path: path.join(shots, `${name.replaceAll('/', '-')}-${language}-${theme}-${width}.png`), fullPage: whole && width < 2000 })
      const broken = await page.evaluate(() => [...document.images].filter((image) => image.complete && !image.naturalWidth).map((image) => image.getAttribute('src')))
      if (pictures && broken.length) faults.push(`${name} shows pictures that are not there: ${broken.slice(0, 3).join(', ')}`)
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
      if (wide > 1) faults.push(`${name} is ${wide} px too wide at ${width} px, ${language}`)
      await page.evaluate(AXE)
      const found = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }))
      for (const each of found.violations.filter((one) => ['serious', 'critical'].includes(one.impact))) {
        const where = each.nodes.map((node) => `${node.target} ${node.any[0]?.message ?? ''}`).join(', ')
        faults.push(`axe on ${name}, ${language}, ${theme}, ${width}: ${each.id}: ${where}`)
      }
    }
    await wear(...FIRST)
    console.log(`seen: ${name}`)
  }

  /** A drop of files, as from the desktop. folder: where they lie; names: theirs, which may be anything. */
  async function drop(folder, names) {
    const files = names.map((name) => ({ name, type: name.endsWith('.png') ? 'image/png' : 'image/jpeg', bytes: readFileSync(path.join(folder, name)).toString('base64') }))
    await page.evaluate((given) => {
      const data = new DataTransfer()
      for (const { name, type, bytes } of given) data.items.add(new File([Uint8Array.from(atob(bytes), (one) => one.charCodeAt(0))], name, { type }))
      for (const kind of ['dragenter', 'dragover', 'drop']) window.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }))
    }, files)
  }

  /** A drop of a whole folder, which only the browser itself can make. */
  async function dropFolder(folder) {
    const session = await context.newCDPSession(page)
    const data = { items: [], files: [path.resolve(folder)], dragOperationsMask: 1 }
    for (const type of ['dragEnter', 'dragOver', 'drop']) await session.send('Input.dispatchDragEvent', { type, x: 300, y: 300, data })
    await session.detach()
  }

  /** In the open editor of a photo: a stroke of the brush across the middle of its mask. */
  async function paint() {
    const dialog = page.getByRole('dialog')
    await dialog.getByRole('button', { name: 'Mask', exact: true }).click()
    const stage = await dialog.getByRole('application').boundingBox()
    const at = (share) => [stage.x + stage.width * share, stage.y + stage.height * share]
    await page.mouse.move(...at(0.3))
    await page.mouse.down()
    await page.mouse.move(...at(0.7), { steps: 5 })
    await page.mouse.up()
    await dialog.getByText(/^Marks [1-9]/).waitFor()
  }

  /** Runs the walk; a fault leaves a picture of where it happened, and an exit code of 1. */
  async function run(walk) {
    try {
      await walk()
    } catch (error) {
      if (shots) await page.screenshot({ path: path.join(shots, 'failed.png') }).catch(() => undefined)
      console.error(`at ${page.url()}: ${error.message ?? error}`)
      for (const each of [...complaints, ...faults]) console.error(each)
      process.exitCode = 1
    } finally {
      await browser.close()
    }
  }

  /** A screen opened anew: how much of it has moved by itself until `ready` was there; 0 is nothing, 1 all of it. */
  async function jumps(address, ready) {
    await page.goto('about:blank')
    await page.goto(address)
    await page.locator(ready).first().waitFor()
    await page.waitForLoadState('networkidle')
    const found = await page.evaluate(() => window.jumps)
    return { value: found.reduce((sum, each) => sum + each.value, 0), what: found.map((each) => `${each.value.toFixed(3)} ${each.what}`).join('; ') }
  }

  return { jumps, paint, context, page, complaints, faults, look, drop, dropFolder, run }
}

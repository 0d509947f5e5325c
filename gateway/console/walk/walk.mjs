// The main job in a real browser on a running stack: node walk.mjs ADDRESS PHOTOS SHOTS
//
// ADDRESS: what `fiveshot console` prints. PHOTOS: a folder of pictures, in which `broken.jpg` is none. SHOTS: where the
// screenshots go. Ends with 1 and a sentence when something is not as it should be.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdir, readdir } from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'
import { chromium } from 'playwright-core'

const [address, photos, shots] = process.argv.slice(2)
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const PATIENCE = 1000 * Number(process.env.WALK_PATIENCE_S ?? 240)
const ALL = process.env.WALK_ALL === '1'
const VIEWS = [
  ['en', 'light', 1280, 860],
  ...(ALL ? [['en', 'dark', 1280, 860], ['zh-CN', 'light', 1280, 860], ['zh-CN', 'dark', 390, 800], ['en', 'light', 360, 740], ['en', 'light', 2560, 1400]] : []),
]

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
})
const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, locale: 'en-GB', acceptDownloads: true, bypassCSP: false })
const page = await context.newPage()
page.setDefaultTimeout(PATIENCE)
const complaints = []
// What the screens lack, told together at the end.
const faults = []
page.on('console', (message) => {
  // What the walk provokes on purpose: refusals, the cut line, the look for a session before there is one.
  const wanted = /Failed to load resource|net::ERR/.test(message.text())
  if (message.type() === 'error' && !wanted) complaints.push(message.text())
})
page.on('pageerror', (error) => complaints.push(String(error)))
await mkdir(shots, { recursive: true })

/** Sets language and theme by the page's own buttons, from under a dialog too. */
async function wear(language, theme, width, height) {
  await page.setViewportSize({ width, height })
  await page.evaluate(
    ([wanted, look]) => {
      const press = (found) => found && (found.click(), true)
      const buttons = () => [...document.querySelectorAll('button')]
      press(buttons().find((each) => each.textContent.trim() === (wanted === 'en' ? 'English' : '中文')))
      // The theme's button goes round three states; before signing in there is none.
      for (let turn = 0; turn < 3 && document.documentElement.dataset.theme !== look; turn += 1) {
        if (!press(buttons().find((each) => '◐☀☾'.includes(each.textContent.trim())))) document.documentElement.dataset.theme = look
      }
    },
    [language, theme],
  )
}

/** The screen as it is in each view, and what axe finds serious in it. */
async function look(name, { whole = true } = {}) {
  for (const [language, theme, width, height] of VIEWS) {
    await wear(language, theme, width, height)
    await page.evaluate(() => Promise.all([...document.images].map((image) => image.loading === 'lazy' || image.decode().catch(() => undefined))))
    await page.screenshot({ path: path.join(shots, `${name}-${language}-${theme}-${width}.png`), fullPage: whole && width < 2000 })
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
    if (wide > 1) faults.push(`${name} is ${wide} px too wide at ${width} px, ${language}`)
    await page.evaluate(AXE)
    const found = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }))
    for (const each of found.violations.filter((one) => ['serious', 'critical'].includes(one.impact))) {
      const where = each.nodes.map((node) => `${node.target} ${node.any[0]?.message ?? ''}`).join(', ')
      faults.push(`axe on ${name}, ${language}, ${theme}, ${width}: ${each.id}: ${where}`)
    }
  }
  await wear(...VIEWS[0])
  console.log(`seen: ${name}`)
}

/** A drop of files, as from the desktop. */
async function drop(names) {
  const files = names.map((name) => ({ name, type: name.endsWith('.png') ? 'image/png' : 'image/jpeg', bytes: readFileSync(path.join(photos, name)).toString('base64') }))
  await page.evaluate((given) => {
    const data = new DataTransfer()
    for (const { name, type, bytes } of given) data.items.add(new File([Uint8Array.from(atob(bytes), (one) => one.charCodeAt(0))], name, { type }))
    for (const kind of ['dragenter', 'dragover', 'drop']) window.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }))
  }, files)
}

try {
  const home = new URL(address).origin
  await page.goto(home)
  await page.getByRole('heading', { name: 'Sign in' }).waitFor()
  await look('signin')
  await page.goto(`${home}/#/sign-in/wrong-code`)
  await page.getByText('not known here').waitFor()
  await page.goto(address)
  await page.getByRole('heading', { name: 'Drop photos' }).waitFor()
  assert.ok(!page.url().includes('sign-in'), 'the code stays in the address')
  assert.equal(await page.evaluate(() => document.cookie), '', 'a script can read the cookie')
  await look('start')

  const names = await readdir(photos)
  await drop(names)
  await page.getByLabel('Name').fill('Moss the mascot')
  await look('naming')
  await page.getByRole('button', { name: /Create and upload/ }).click()
  await page.getByText(`${names.length - 1} photos`, { exact: true }).waitFor()
  await page.locator('.refused [role=alert]').waitFor()
  await look('photos')
  await page.getByRole('button', { name: 'Dismiss' }).click()
  await page.getByRole('button', { name: /^Show mascot-1/ }).click()
  await page.keyboard.press('ArrowRight')
  await page.getByRole('dialog').getByText('mascot-2.png').waitFor()
  await page.keyboard.press('Escape')

  await page.getByRole('link', { name: 'On to the words' }).click()
  await page.getByLabel('What is it?').fill('mascot')
  await page.getByRole('button', { name: 'Tag all photos' }).click()
  await page.getByText(/tagged, .* failed/).waitFor()
  const first = page.locator('article').first()
  await first.getByPlaceholder('Add a tag').fill('<b>standing</b>, outdoors')
  await page.keyboard.press('Enter')
  await first.getByText('Trained on:').locator('..').getByText('outdoors').waitFor()
  await first.getByRole('button', { name: 'outdoors', exact: true }).first().focus()
  await page.keyboard.press('Delete')
  await first.getByRole('button', { name: 'outdoors', exact: true }).first().waitFor({ state: 'detached' })
  await page.keyboard.press('Control+z')
  await first.getByRole('button', { name: 'outdoors', exact: true }).first().waitFor()
  await look('words')

  await page.getByRole('link', { name: 'On to the plan' }).click()
  await page.getByLabel('Epochs').fill(process.env.WALK_EPOCHS ?? '3')
  await page.getByLabel('Repeats').fill(process.env.WALK_REPEATS ?? '4')
  await page.getByText('All parameters').click()
  if (!ALL) await page.getByLabel(/^preview steps/i).fill('6')
  await page.getByLabel(/^rank/i).fill('100000')
  await page.locator('aside [role=alert]').waitFor()
  assert.ok(await page.getByRole('button', { name: 'Start training' }).isDisabled(), 'a wrong plan can be started')
  await page.getByLabel(/^rank/i).fill('')
  await page.locator('aside [role=alert]').waitFor({ state: 'detached' })
  await look('plan')
  await page.getByRole('button', { name: 'Start training' }).click()

  await page.getByRole('heading', { name: 'Moss the mascot' }).waitFor()
  await page.getByText('Previews of epoch 1').waitFor()
  await look('run')
  // The line is cut in the middle, and the page is loaded anew: it catches up by itself.
  await context.setOffline(true)
  await context.setOffline(false)
  await page.reload()
  await page.locator('.badge', { hasText: 'Done' }).waitFor()
  await page.locator('.uplot canvas').waitFor()
  await look('ran')

  await page.getByRole('link', { name: 'Choose an epoch' }).click()
  await page.locator('#cell-0-0 img').waitFor()
  await look('choose')
  await page.locator('#cell-0-0').focus()
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('ArrowRight')
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'cell-1-1')
  await page.keyboard.press('Enter')
  await page.getByLabel('Compare with').selectOption('base')
  await look('compare', { whole: false })
  await page.getByRole('dialog').getByRole('link', { name: 'Keep' }).click()

  await page.getByLabel('Name of the model').fill('Moss')
  await look('keep')
  await page.getByRole('button', { name: 'Keep this epoch' }).click()
  await page.getByText('The files are checked').waitFor()
  const saved = page.waitForEvent('download')
  await page.getByRole('link', { name: 'Download' }).first().click()
  const file = readFileSync(await (await saved).path())
  assert.ok(file.length > 10_000, 'the downloaded file is empty')
  assert.ok(file.subarray(8, 64).toString().startsWith('{'), 'the downloaded file is no safetensors')
  await look('kept')
  await page.getByRole('link', { name: 'Show the model' }).click()
  await page.getByRole('heading', { name: 'Version 1' }).waitFor()
  await look('model')
  await page.getByRole('link', { name: 'Fiveshot', exact: true }).click()
  await page.getByRole('heading', { name: 'Trainings' }).waitFor()
  await look('home')

  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByRole('heading', { name: 'Sign in' }).waitFor()
  await page.reload()
  await page.getByRole('heading', { name: 'Sign in' }).waitFor()
  assert.equal(await page.evaluate(() => window.hacked), undefined, 'a file name ran as a script')
  assert.deepEqual(complaints, [], 'the browser complained')
  assert.deepEqual(faults, [], 'screens have faults')
  console.log('walked from photos to a model')
} catch (error) {
  await page.screenshot({ path: path.join(shots, 'failed.png') }).catch(() => undefined)
  console.error(`at ${page.url()}: ${error.message ?? error}`)
  for (const each of [...complaints, ...faults]) console.error(each)
  process.exitCode = 1
} finally {
  await browser.close()
}

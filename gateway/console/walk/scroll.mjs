// How smoothly long lists scroll: node scroll.mjs ADDRESS DATASET JOB [LONG]
//
// ADDRESS: what `fiveshot console` prints. DATASET, JOB: ids with many photos and many epochs. Scrolls Photos, Words and
// Choose with the wheel at fourfold CPU throttle, and prints of each the longest task of the page's thread, by the clock
// and in CPU time (which other work on the machine does not lengthen), and the most pictures mounted at once. Ends with 1
// when more than sixty were. LONG: id of a job with many steps, whose curve is drawn and scrolled over as well.
import { chromium } from 'playwright-core'

const [address, dataset, job, long] = process.argv.slice(2)
const THROTTLE = 4
const MOST = 60
const home = new URL(address).origin
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
})
const page = await (await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: 'en-GB' })).newPage()
page.setDefaultTimeout(1000 * Number(process.env.WALK_PATIENCE_S ?? 240))
const tools = await page.context().newCDPSession(page)

/** Tasks of the page's own thread while `work` runs: milliseconds by the clock and of the CPU. */
async function tasks(work) {
  const events = []
  const collect = ({ value }) => events.push(...value)
  tools.on('Tracing.dataCollected', collect)
  await tools.send('Tracing.start', { transferMode: 'ReportEvents', traceConfig: { includedCategories: ['toplevel', 'disabled-by-default-devtools.timeline', 'blink.user_timing'] } })
  await work()
  const ended = new Promise((done) => tools.once('Tracing.tracingComplete', done))
  await tools.send('Tracing.end')
  await ended
  tools.off('Tracing.dataCollected', collect)
  const main = events.find((event) => event.name === 'thread_name' && event.args?.name === 'CrRendererMain' && events.some((other) => other.tid === event.tid && other.pid === event.pid && other.name === 'RunTask'))
  const found = events.filter((event) => event.name === 'RunTask' && (!main || (event.tid === main.tid && event.pid === main.pid)))
  const most = (key) => Math.max(0, ...found.map((event) => (event[key] ?? 0) / 1000))
  return { tasks: found.length, clock: most('dur'), cpu: most('tdur') }
}

async function scroll(name, hash, ready, tiles = true) {
  await page.goto(`${home}/#/default/${hash}`)
  await page.locator(ready).first().waitFor()
  await page.waitForLoadState('networkidle').catch(() => undefined)
  await page.mouse.move(720, 500)
  let mounted = 0
  const roll = async (turns, by) => {
    for (let turn = 0; turn < turns; turn += 1) {
      await page.mouse.wheel(0, by)
      await page.evaluate(() => new Promise(requestAnimationFrame))
      mounted = Math.max(mounted, await page.evaluate(() => document.querySelectorAll('main [data-tile] img').length))
    }
  }
  const found = []
  for (const rate of [1, THROTTLE]) {
    await page.evaluate(() => scrollTo(0, 0))
    await tools.send('Emulation.setCPUThrottlingRate', { rate })
    found.push(await tasks(async () => {
      await roll(60, 240)
      await roll(30, -480)
    }))
    await tools.send('Emulation.setCPUThrottlingRate', { rate: 1 })
  }
  const high = await page.evaluate(() => document.documentElement.scrollHeight)
  const [free, slow] = found
  console.log(`${name}: ${high} px high, at most ${mounted} pictures mounted; longest task ${slow.clock.toFixed(0)} ms (${slow.cpu.toFixed(1)} ms of the CPU) at ${THROTTLE}x, ${free.clock.toFixed(0)} ms unthrottled (${free.cpu.toFixed(1)} ms of the CPU), ${slow.tasks} tasks`)
  if (mounted > MOST || (tiles && !mounted)) process.exitCode = 1
}

try {
  await page.goto(address)
  await page.getByRole('heading', { name: 'Drop photos' }).waitFor()
  await scroll('Photos', `datasets/${dataset}/photos`, '[data-tile] img')
  await scroll('Words', `datasets/${dataset}/words`, '[data-tile] img')
  await scroll('Choose', `jobs/${job}/choose`, '#cell-0-0')
  if (long) {
    await scroll('Run', `jobs/${long}/run`, '.uplot canvas', false)
    console.log(`Run: ${await page.getByRole('img', { name: /^Loss over/ }).getAttribute('aria-label')}`)
  }
} finally {
  await browser.close()
}

// The main job by the keyboard alone, on two datasets: node keys.mjs ADDRESS PHOTOS OTHER
//
// ADDRESS: what `fiveshot console` prints, of a stack with a dataset OTHER beside. PHOTOS: a folder of pictures. Nothing is
// pressed with the mouse: Tab must come to each thing that is needed, and the focus must be seen there. Prints the ids of
// what it made as its last line; ends with 1 and a sentence when something is not as it should be.
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { start } from './browser.mjs'

const [address, photos, other] = process.argv.slice(2)
const MOST = 250
const VIEWS = [['en', 'light', 1280, 860], ['zh-CN', 'dark', 360, 740]]
const { context, page, complaints, faults, look, run } = await start(process.env.EDGE_SHOTS ?? '')

/** Presses Tab until the focus is on it; it must be outlined there, or be a field that shows its caret. */
async function reach(what) {
  await what.first().waitFor()
  const there = () => what.first().evaluate((node) => document.activeElement === node)
  for (let turn = 0; turn < MOST && !(await there()); turn += 1) await page.keyboard.press('Tab')
  assert.ok(await there(), `no Tab comes to ${what}`)
  const seen = await what.first().evaluate((node) => {
    const style = getComputedStyle(node)
    const around = node.closest('label') && getComputedStyle(node.closest('label'))
    return style.outlineStyle !== 'none' || around?.outlineStyle !== 'none'
  })
  assert.ok(seen, `${what} has the focus and does not show it`)
}
async function press(what, key = 'Enter') {
  await reach(what)
  await page.keyboard.press(key)
}
async function type(what, text) {
  await reach(what)
  await page.keyboard.press('Control+a')
  await page.keyboard.type(text)
}
const role = (kind, name) => page.getByRole(kind, { name })

await run(async () => {
  await page.goto(address)
  await role('heading', 'Drop photos').waitFor()
  const files = (await readdir(photos)).map((name) => path.join(photos, name))
  const chooser = page.waitForEvent('filechooser')
  await press(page.locator('input[type=file]'), 'Space')
  await (await chooser).setFiles(files)
  await type(page.getByLabel('Name'), 'Moss')
  await press(role('button', /^Create and upload/))
  await page.getByText(`${files.length} photos`, { exact: true }).waitFor()
  await look('photos', { views: VIEWS })
  const dataset = /datasets\/([^/]+)/.exec(page.url())[1]

  // A photo opened, cropped and closed again.
  await press(page.locator('[data-tile="0"] .picture'))
  const dialog = page.getByRole('dialog')
  await reach(dialog.getByRole('group', { name: /^Part that is trained/ }))
  for (const key of ['-', '-', 'ArrowRight']) await page.keyboard.press(key)
  await dialog.getByText('A part of it').waitFor()
  await page.keyboard.press('Escape')
  await dialog.waitFor({ state: 'detached' })
  await page.getByText('cropped', { exact: true }).waitFor()
  assert.ok(await page.evaluate(() => document.activeElement !== document.body), 'the focus is lost when the photo closes')

  await press(role('link', 'On to the words'))
  await type(page.getByLabel('What is it?'), 'mascot')
  await press(role('button', 'Tag all photos'))
  await page.getByText(/tagged, .* failed/).waitFor()
  await look('words', { views: VIEWS })
  await press(role('link', 'On to the plan'))
  await type(page.getByLabel('Epochs'), '2')
  await type(page.getByLabel('Repeats'), '4')

  // A second dataset, which gets twice the steps.
  await reach(page.getByLabel('Add another photo set'))
  await page.keyboard.type(other.slice(0, 4))
  await page.keyboard.press('Enter')
  const weight = page.getByLabel(`Weight of ${other}`)
  await type(weight, '0')
  await page.getByText('–', { exact: true }).first().waitFor()
  await page.locator('aside [role=alert]').waitFor()
  await type(weight, '2')
  await page.getByText('67 %', { exact: true }).waitFor()
  await page.locator('aside .time').waitFor()
  await page.locator('aside [role=alert]').waitFor({ state: 'detached' })
  await look('plan', { views: VIEWS })
  await press(role('button', 'Start training'))

  // Another tab on the same job: what is done in one is seen in the other.
  await role('heading', 'Moss').waitFor()
  const job = /jobs\/([^/]+)/.exec(page.url())[1]
  const tab = await context.newPage()
  tab.setDefaultTimeout(240_000)
  await tab.goto(page.url())
  await tab.getByText('67 %', { exact: true }).waitFor()
  await press(role('button', 'Pause'))
  const state = (where, text) => where.locator('.head .badge', { hasText: text }).waitFor()
  await state(tab, /Paused|Pausing/)
  await tab.getByRole('button', { name: 'Resume' }).waitFor()
  await look('run', { views: VIEWS })
  await press(role('button', 'Resume'))
  await state(page, 'Done')
  await state(tab, 'Done')
  await tab.close()

  await press(role('link', 'Choose an epoch'))
  await page.locator('#cell-0-0 img').waitFor()
  await look('choose', { views: VIEWS })
  await reach(page.locator('#cell-0-0'))
  await page.keyboard.press('ArrowDown')
  assert.equal(await page.evaluate(() => document.activeElement.id), 'cell-1-0')
  await page.keyboard.press('Enter')
  const against = dialog.getByLabel('Compare with')
  await reach(against)
  await page.keyboard.type('Base')
  await page.keyboard.press('Enter')
  await press(dialog.getByRole('button', { name: 'Crossfade' }))
  await reach(dialog.getByRole('slider'))
  await page.keyboard.press('ArrowRight')
  await page.keyboard.press('Escape')
  await dialog.waitFor({ state: 'detached' })

  await press(page.getByRole('link', { name: 'Keep', exact: true }).last())
  await type(page.getByLabel('Name of the model'), 'Moss and more')
  await press(role('button', 'Keep this epoch'))
  await page.getByText('The files are checked').waitFor()
  await look('kept', { views: VIEWS })
  await press(role('link', 'Show the model'))
  await role('heading', 'Version 1').waitFor()
  const sets = page.getByRole('list', { name: 'Photo sets of this training' })
  assert.equal(await sets.first().getByRole('listitem').count(), 2, 'the model does not say what it was trained on')
  await look('model', { views: VIEWS })

  assert.deepEqual(complaints, [], 'the browser complained')
  assert.deepEqual(faults, [], 'screens have faults')
  console.log(JSON.stringify({ dataset, job, model: /models\/([^/]+)/.exec(page.url())[1] }))
})

// What the visitor chose about the page itself: language and theme. Kept in this browser.
import { en, type Strings } from './strings/en'
import { zh } from './strings/zh'
import { told } from './told'

export type Language = 'en' | 'zh-CN'
export type Theme = 'auto' | 'light' | 'dark'

const TABLES: Record<Language, Strings> = { en, 'zh-CN': zh }

function kept<T extends string>(key: string, allowed: readonly T[], otherwise: T): T {
  const found = localStorage.getItem(key) as T | null
  return found && allowed.includes(found) ? found : otherwise
}

const ui = $state({
  language: kept<Language>('language', ['en', 'zh-CN'], navigator.language.startsWith('zh') ? 'zh-CN' : 'en'),
  theme: kept<Theme>('theme', ['auto', 'light', 'dark'], 'auto'),
})

function apply(): void {
  document.documentElement.lang = ui.language
  document.documentElement.dataset.theme = ui.theme
}
apply()

/** The strings of the chosen language. */
export const t = () => TABLES[ui.language]
/** A description or remark of the server's in the chosen language, where it is known there. */
export const said = (text: string) => t().descriptions[text] ?? told(text, t().remarks)
/** A parameter's name as people read it. */
export const parameterName = (name: string) => t().parameters[name] ?? name.replaceAll('_', ' ').replace(/\b(lr|ema|snr|lora)\b/g, (word) => word.toUpperCase())
export const language = () => ui.language
export const theme = () => ui.theme

export function speak(chosen: Language): void {
  ui.language = chosen
  localStorage.setItem('language', chosen)
  apply()
}

export function paint(chosen: Theme): void {
  ui.theme = chosen
  localStorage.setItem('theme', chosen)
  apply()
}

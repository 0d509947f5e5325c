// Sentences of the server in another language, as far as they are known. What no rule knows stays as it came.

/** A sentence of the server, and what it is in the page's language; `$1` stands for what the first bracket holds. */
export type Rule = [RegExp, string]

/** Each rule reads whole sentences, so what was left over is a sentence as well. */
export function told(text: string, rules: Rule[]): string {
  let left = text
  for (const [pattern, words] of rules) left = left.replace(pattern, words)
  return left.replace(/([。；！？]) +/g, '$1').trim()
}

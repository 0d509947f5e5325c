// The audit log: what is sought in it, and how its entries read.
export interface Sought {
  who: string
  what: string
  about: string
  refused: boolean
}

/** The filter of the audit log for what was typed; texts are found anywhere in their field. */
export function auditFilter({ who, what, about, refused }: Sought): string {
  const holds = (field: string, text: string) => (text.trim() ? [`${field}:${JSON.stringify(text.trim())}`] : [])
  return [...holds('principal', who), ...holds('method', what), ...holds('resource', about), ...(refused ? ['code != "OK"'] : [])].join(' AND ')
}

/** `fiveshot.registry.v1.RegistryService.DeleteModel` as `DeleteModel`; what is no method of a service stays. */
export const plainMethod = (method: string) => (/^fiveshot\..*Service\./.test(method) ? method.slice(method.lastIndexOf('.') + 1) : method)

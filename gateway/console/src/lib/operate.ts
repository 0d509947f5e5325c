// The numbers of operating: budgets in words, and what their windows mean.
import type { BudgetUse } from '../gen/fiveshot/usage/v1/usage_pb'
import { count, duration, secondsOf, size } from './format'
import { t } from './ui.svelte'

export function amount(budget: BudgetUse, value: bigint): string {
  if (budget.unit === 'bytes') return size(value)
  if (budget.unit === 'seconds') return value ? duration(Number(value)) : t().seconds(0)
  return count(value)
}

/** 0 to 1; null where there is no limit. */
export function share(budget: BudgetUse): number | null {
  return budget.limit ? Math.min(1, Number(budget.used) / Number(budget.limit)) : null
}

/** Hours over which the use is added up; 0 for what is in use at the moment. */
export const hours = (budget: BudgetUse) => secondsOf(budget.window) / 3600

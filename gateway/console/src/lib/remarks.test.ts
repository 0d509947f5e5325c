import { expect, test } from 'vitest'
import { REMARKS } from './strings/zhFaults'
import { told } from './told'

test('what is wrong with a value is told with its numbers', () => {
  expect(told('num_epochs must be between 1 and 50, got 0', REMARKS)).toBe('须在 1 到 50 之间，现在是 0')
  expect(told("must be between 1e-07 and 1, got 3", REMARKS)).toBe('须在 1e-07 到 1 之间，现在是 3')
  expect(told("optimizer 'sgd' is not one of adamw, lion", REMARKS)).toBe('“sgd”不在可选的值之中：adamw, lion')
})

test('why a job waits is told', () => {
  expect(told("The project's budget 'running_jobs' is used up: 2 of 2 jobs are in use.", REMARKS)).toBe('项目的额度“running_jobs”已用完（2 / 2）。')
  expect(told('It needs about 30.0 GB of memory, 20.0 GB at least. The largest worker that is there has 16.0 GB, of which a job may use 14.0 GB.', REMARKS))
    .toBe('大约需要 30.0 GB 内存，至少 20.0 GB。现有最大的工作进程有 16.0 GB，其中训练可用 14.0 GB。')
  expect(told('Something that no rule knows.', REMARKS)).toBe('Something that no rule knows.')
})

import { expect, test } from 'vitest'
import { auditFilter, plainMethod } from './auditLog'

const sought = { who: '', what: '', about: '', refused: false }

test('an audit filter holds what was typed, and quotes it', () => {
  expect(auditFilter(sought)).toBe('')
  expect(auditFilter({ ...sought, who: ' key:backend ', refused: true })).toBe('principal:"key:backend" AND code != "OK"')
  expect(auditFilter({ ...sought, about: 'a" OR resource:"b' })).toBe('resource:"a\\" OR resource:\\"b"')
})

test('methods lose what all have in common', () => {
  expect(plainMethod('fiveshot.registry.v1.RegistryService.DeleteModel')).toBe('DeleteModel')
  expect(plainMethod('console.SignIn')).toBe('console.SignIn')
  expect(plainMethod('*')).toBe('*')
})

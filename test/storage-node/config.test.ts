import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ConfigError, loadConfig } from '../../common/config.ts'
import { createLogger } from '../../common/log.ts'
import { envPrefix } from '../../storage-node/config.ts'
import { createStorageNode, StorageNodeConfig } from '../../storage-node/index.ts'

const log = createLogger('test', { level: 'silent' })

/** `fine`, or the one line that says what is not. */
function verdict(args: string[], env: Record<string, string> = {}): string {
  try {
    createStorageNode(loadConfig(StorageNodeConfig, { args, env, prefix: envPrefix }), log)
    return 'fine'
  } catch (err) {
    if (!(err instanceof ConfigError)) throw err
    return err.message
  }
}

void t.test('a node that anybody could write to must be meant to be one', t => {
  const off = ['--listen', '0.0.0.0:0']
  t.match(verdict([]), /^--secret-file or --open: [^\n]+$/)
  t.match(verdict(off), /^--secret-file or --open: [^\n]+$/)
  t.equal(verdict(['--open']), 'fine')
  t.equal(verdict([...off, '--open']), 'fine')
  t.equal(verdict(off, { OMG_STORAGE_NODE_SECRET: 'x'.repeat(32) }), 'fine')
  t.end()
})

void t.test('a secret is long, and comes from a file that only its owner reads', t => {
  const root = t.testdir({ good: 'x'.repeat(32), shared: 'x'.repeat(32), short: 'short' })
  const file = (name: string): string[] => ['--secret-file', join(root, name)]
  chmodSync(join(root, 'good'), 0o600)
  chmodSync(join(root, 'short'), 0o600)
  chmodSync(join(root, 'shared'), 0o644)
  t.equal(verdict(file('good')), 'fine')
  t.match(verdict(file('shared')), /^--secret-file: .*chmod 600/)
  t.match(verdict(file('short')), /^--secret-file: /)
  t.match(verdict(file('absent')), /^--secret-file: /)
  t.match(verdict([], { OMG_STORAGE_NODE_SECRET: 'short' }), /^--secret-file: /)
  const previous = ['--previous-secret-file', join(root, 'good')]
  t.match(verdict([...previous, '--open']), /^--previous-secret-file: /)
  t.equal(verdict([...previous, ...file('good')]), 'fine')
  t.match(verdict(['--secret', 'x'.repeat(32)]), /--secret/, 'never on the command line')
  t.end()
})

void t.test('a setting that cannot be read is named', t => {
  t.match(verdict(['--open', '--listen', '127.0.0.1:abc']), /^--listen: /)
  t.match(verdict(['--open', '--listen', '127.0.0.1:70000']), /^--listen: /)
  t.match(verdict(['--open', '--log-level', 'loud']), /^--log-level: /)
  t.match(verdict(['--open', '--nonsense']), /nonsense/)
  t.match(verdict(['--open', 'argument']), /argument/)
  t.match(verdict([], { OMG_STORAGE_NODE_OPEN: 'maybe' }), /^--open: /)
  t.end()
})

import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import Type from 'typebox'
import {
  checkSecret,
  describeConfig,
  formatAddress,
  isLoopback,
  loadConfig,
  parseAddress,
} from '../../common/config.ts'

const schema = Type.Object({
  databaseUrl: Type.String({
    description: 'where the names are',
    minLength: 1,
    env: 'DATABASE_URL',
  }),
  listen: Type.String({ description: 'HOST:PORT', default: '127.0.0.1:7002' }),
  maxSize: Type.Optional(Type.Integer({ description: 'bytes', minimum: 1 })),
  open: Type.Boolean({ description: 'no signatures', default: false }),
  level: Type.Union([Type.Literal('info'), Type.Literal('debug')], { default: 'info' }),
  secret: Type.Optional(Type.String({ description: 'shared', secret: true })),
})
const prefix = 'OMG_TEST_'
const load = (args: string[], env: Record<string, string> = {}) =>
  loadConfig(schema, { args: ['--database-url', 'x', ...args], env, prefix })

t.test('what is not given has its default', async t => {
  t.strictSame(load([]), { databaseUrl: 'x', listen: '127.0.0.1:7002', open: false, level: 'info' })
})

t.test('flags win over the environment, and its own name over a common one', async t => {
  const env = { OMG_TEST_LISTEN: 'b:2', OMG_TEST_MAX_SIZE: '7', OMG_TEST_OPEN: 'true' }
  t.match(load([], env), { listen: 'b:2', maxSize: 7, open: true })
  t.match(load(['--listen', 'c:3', '--max-size=8'], env), { listen: 'c:3', maxSize: 8 })
  const url = (env: Record<string, string>, args: string[] = []) =>
    loadConfig(schema, { args, env, prefix }).databaseUrl
  t.equal(url({ DATABASE_URL: 'common' }), 'common')
  t.equal(url({ DATABASE_URL: 'common', OMG_TEST_DATABASE_URL: 'own' }), 'own')
  t.equal(url({ DATABASE_URL: 'common' }, ['--database-url', 'flag']), 'flag')
})

t.test('yes and no are written in several ways', async t => {
  for (const text of ['true', '1', 'yes', 'on'])
    t.equal(load([], { OMG_TEST_OPEN: text }).open, true, text)
  for (const text of ['false', '0', 'no', 'off', ''])
    t.equal(load([], { OMG_TEST_OPEN: text }).open, false, text)
  t.equal(load(['--open']).open, true)
})

t.test('what cannot be used is refused in one line that names it', async t => {
  const rows: [args: string[], env: Record<string, string>, names: RegExp][] = [
    [['--max-size', 'x'], {}, /^--max-size: /],
    [['--max-size', '0'], {}, /^--max-size: /],
    [[], { OMG_TEST_MAX_SIZE: '-1' }, /^--max-size: /],
    [[], { OMG_TEST_OPEN: 'maybe' }, /^--open: must be true or false, not "maybe"$/],
    [['--level', 'loud'], {}, /^--level: /],
    [['--nonsense'], {}, /--nonsense/],
    [['stray'], {}, /stray/],
    [['--listen'], {}, /--listen/],
    [['--open=yes'], {}, /--open/],
    [['--secret', 'x'.repeat(40)], {}, /--secret/],
    [['--secret-file', '/does/not/exist'], {}, /^--secret-file: .*\/does\/not\/exist/],
  ]
  for (const [args, env, message] of rows) {
    t.throws(() => load(args, env), { name: 'ConfigError', message }, args.join(' '))
    t.throws(() => load(args, env), { message: /^[^\n]+$/ })
  }
  const none = { args: [], env: {}, prefix }
  t.throws(() => loadConfig(schema, none), { message: '--database-url: is required' })
  const closed = Type.Object({ secret: Type.String({ secret: true }) })
  t.throws(() => loadConfig(closed, none), { message: '--secret-file: is required' })
})

t.test(
  'a secret comes from a file that only its owner can read, or from the environment',
  async t => {
    const dir = t.testdir()
    const file = join(dir, 'secret')
    await writeFile(file, 'from a file\n', { mode: 0o600 })
    t.equal(load(['--secret-file', file]).secret, 'from a file')
    t.equal(load([], { OMG_TEST_SECRET_FILE: file }).secret, 'from a file')
    t.equal(load([], { OMG_TEST_SECRET: 'from the environment' }).secret, 'from the environment')
    t.equal(load(['--secret-file', file], { OMG_TEST_SECRET: 'other' }).secret, 'from a file')
    for (const mode of [0o644, 0o640, 0o604, 0o620]) {
      const open = join(dir, mode.toString(8))
      await writeFile(open, 'x')
      await chmod(open, mode)
      t.throws(() => load(['--secret-file', open]), { message: /^--secret-file: .* chmod 600 it$/ })
    }
  },
)

t.test('a secret has 32 bytes', async t => {
  checkSecret('--secret-file', 'x'.repeat(32))
  checkSecret('--secret-file', 'é'.repeat(16))
  t.throws(() => checkSecret('--secret-file', 'x'.repeat(31)), {
    name: 'ConfigError',
    message: '--secret-file: a secret has at least 32 bytes',
  })
})

t.test('--help tells each flag, its meaning, its default and its variable', async t => {
  t.equal(
    describeConfig(schema, prefix),
    [
      '  --database-url …  DATABASE_URL',
      '      where the names are',
      '  --listen …  OMG_TEST_LISTEN',
      '      HOST:PORT (default 127.0.0.1:7002)',
      '  --max-size …  OMG_TEST_MAX_SIZE',
      '      bytes',
      '  --open  OMG_TEST_OPEN',
      '      no signatures (default false)',
      '  --level …  OMG_TEST_LEVEL',
      '       (default info)',
      '  --secret-file …  OMG_TEST_SECRET',
      '      shared',
    ].join('\n'),
  )
})

t.test('addresses are read and written', async t => {
  const rows: [text: string, host: string, port: number, written: string][] = [
    ['127.0.0.1:80', '127.0.0.1', 80, '127.0.0.1:80'],
    ['7001', '127.0.0.1', 7001, '127.0.0.1:7001'],
    ['node-1.example:65535', 'node-1.example', 65535, 'node-1.example:65535'],
    ['[::1]:0', '::1', 0, '[::1]:0'],
  ]
  for (const [text, host, port, written] of rows) {
    t.strictSame(parseAddress('--listen', text), { host, port })
    t.equal(formatAddress({ host, port }), written)
  }
  for (const text of [
    '',
    ':',
    ':80',
    'a',
    'a:',
    'a:b',
    'a:65536',
    'a:-1',
    '::1:80',
    '[x]:1',
    '[::1]',
    'a:1:2',
    'a:1 ',
  ]) {
    t.throws(
      () => parseAddress('--listen', text),
      { name: 'ConfigError', message: /^--listen: must be HOST:PORT/ },
      text,
    )
  }
})

t.test('loopback is told from the world', async t => {
  for (const host of ['127.0.0.1', '127.1.2.3', '::1', 'localhost']) t.ok(isLoopback(host), host)
  for (const host of ['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.example', 'localhost.example'])
    t.notOk(isLoopback(host), host)
})

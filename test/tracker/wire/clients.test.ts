import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { startCluster, type Cluster } from '../../helpers/cluster.ts'
import type { ForeignClient } from './clients/client.ts'
import { nginx } from './clients/nginx.ts'
import { pecl } from './clients/pecl.ts'
import { perl, ruby } from './clients/perl.ts'
import { createPymogilefs } from './clients/pymogilefs.ts'
import { openTalk } from './talk.ts'

type Args = Readonly<Record<string, string>>
type Pairs = ReadonlyMap<string, string>

const perlBinary = '/usr/bin/perl'
const perlScript = fileURLToPath(
  new URL('../../../../test/tracker/wire/clients/mogile.pl', import.meta.url),
)

/** What differs between the clients beyond their bytes. */
interface Habits {
  readonly open: Args
  readonly closeExtras: Args
  readonly sendsSize: boolean
  /** Pairs of the answer to create_open that go back with create_close. */
  readonly copiesReply: boolean
  readonly paths: Args
  readonly key: string
}

const clients: [client: ForeignClient, habits: Habits][] = [
  [
    perl,
    {
      open: { class: '', fid: '0', multi_dest: '1' },
      closeExtras: {},
      sendsSize: true,
      copiesReply: false,
      paths: { noverify: '0', pathcount: '2' },
      key: 'perl/a b+c%d=e&f;\xc3\xa9\n',
    },
  ],
  [
    ruby,
    {
      open: { class: 'default', multi_dest: '1' },
      closeExtras: { class: 'default' },
      sendsSize: true,
      copiesReply: false,
      paths: { noverify: '1', zone: 'alt' },
      key: 'ruby/a b\xff',
    },
  ],
  [
    createPymogilefs(),
    {
      open: { class: 'default', multi_dest: '1', fid: '0' },
      closeExtras: { class: 'default' },
      sendsSize: true,
      copiesReply: false,
      paths: { noverify: '1', zone: 'alt' },
      key: 'pymogilefs/key',
    },
  ],
  [
    nginx,
    {
      open: { class: 'default' },
      closeExtras: { class: 'default' },
      sendsSize: true,
      copiesReply: true,
      paths: { noverify: '1', class: 'default' },
      key: 'nginx/k\xc3\xa9y-with:slash',
    },
  ],
  [
    pecl,
    {
      open: { class: '', multi_dest: '0' },
      closeExtras: {},
      sendsSize: false,
      copiesReply: true,
      paths: { pathcount: '2' },
      key: 'pecl/a b',
    },
  ],
]

/** PUT as the Perl client does it: HTTP/1.0, the length, and no Host. */
async function putRaw(path: string, bytes: string): Promise<void> {
  const { hostname, port, pathname } = new URL(path)
  const socket = connect({ host: hostname, port: Number(port) })
  socket.write(`PUT ${pathname} HTTP/1.0\r\nContent-length: ${bytes.length}\r\n\r\n${bytes}`)
  const answer = await text(socket)
  if (!/^HTTP\/1\.[01] 2\d\d /.test(answer)) throw new Error(answer)
}

/** Asks as `client` does; `ask` wants OK, `code` an ERR. */
async function speak(t: Test, cluster: Cluster, client: ForeignClient) {
  const talk = await openTalk(t, cluster.wire)
  const send = async (command: string, args: Args) => {
    const [line = ''] = await talk.exchange(client.request(command, args), 1)
    return { line, reply: client.parse(`${line}\r\n`) }
  }
  return {
    ask: async (command: string, args: Args = {}): Promise<Pairs> => {
      const { line, reply } = await send(command, args)
      if (!reply.ok) throw new Error(`${command}: ${line}`)
      return reply.pairs
    },
    code: async (command: string, args: Args = {}): Promise<string> => {
      const { line, reply } = await send(command, args)
      if (reply.ok) throw new Error(`${command}: ${line}`)
      return reply.code
    },
  }
}

t.test('clients in the field', async t => {
  const cluster = await startCluster(t, { hosts: 2, open: true })
  const domain = 'test'

  for (const [client, { key, ...habits }] of clients) {
    t.test(`${client.name} stores, finds, lists, renames and deletes a file`, async t => {
      const { ask, code } = await speak(t, cluster, client)
      const put = async (name: string, bytes: string): Promise<void> => {
        const opened = await ask('create_open', { domain, key: name, ...habits.open })
        const first = opened.has('dev_count') ? '_1' : ''
        const [devid, path, fid] = [`devid${first}`, `path${first}`, 'fid'].map(
          pair => opened.get(pair) ?? '',
        ) as [string, string, string]
        await putRaw(path, bytes)
        await ask('create_close', {
          domain,
          key: name,
          ...habits.closeExtras,
          ...(habits.copiesReply ? Object.fromEntries(opened) : { fid, devid, path }),
          ...(habits.sendsSize ? { size: String(bytes.length) } : {}),
        })
      }
      const read = async (name: string): Promise<string> => {
        const paths = await ask('get_paths', { domain, key: name, ...habits.paths })
        t.ok(Number(paths.get('paths')) >= 1)
        const url = paths.get('path1') ?? ''
        t.match(url, /^http:\/\/[\d.]+:\d+\/dev\d+\/\d\/\d{3}\/\d{3}\/\d{10}\.fid$/)
        return (await fetch(url)).text()
      }
      const folder = key.slice(0, key.indexOf('/') + 1)
      await put(key, 'hello')
      t.equal(await read(key), 'hello')
      await put(key, 'again')
      t.equal(await read(key), 'again', 'the last close wins')

      const info = await ask('file_info', { domain, key })
      t.equal(info.size, 6)
      t.equal(info.get('key'), key)

      for (const name of ['1', '2', '3']) await put(`${folder}page/${name}`, '')
      const listed: string[] = []
      for (let after = ''; ;) {
        const page = { domain, prefix: `${folder}page/`, after, limit: '2' }
        // Perl, pymogilefs and moji take this error for the end of the list.
        if (listed.length === 3) {
          t.equal(await code('list_keys', page), 'none_match')
          break
        }
        const keys = await ask('list_keys', page)
        for (let i = 1; i <= Number(keys.get('key_count')); i++) {
          listed.push(keys.get(`key_${i}`) ?? '')
        }
        after = keys.get('next_after') ?? ''
      }
      t.strictSame(listed, [`${folder}page/1`, `${folder}page/2`, `${folder}page/3`])

      t.equal(
        await code('rename', { domain, from_key: key, to_key: `${folder}page/1` }),
        'key_exists',
      )
      await ask('rename', { domain, from_key: key, to_key: `${folder}renamed` })
      t.equal(await read(`${folder}renamed`), 'again')
      t.equal(await code('get_paths', { domain, key }), 'unknown_key')
      await ask('delete', { domain, key: `${folder}renamed` })
      t.equal(await code('delete', { domain, key: `${folder}renamed` }), 'unknown_key')
    })
  }

  for (const [i, client] of [perl, createPymogilefs(), pecl].entries()) {
    t.test(`${client.name} administers`, async t => {
      const { ask, code } = await speak(t, cluster, client)
      const name = client.name.replaceAll(/\W/g, '')
      const devid = String(70 + i)
      t.strictSame([...(await ask('create_domain', { domain: name }))], [['domain', name]])
      const change = { domain: name, class: 'c', mindevcount: '2' }
      const made = await ask('create_class', change)
      t.strictSame([made.get('class'), made.get('mindevcount')], ['c', '2'])
      await ask('update_class', { ...change, mindevcount: '3' })
      const domains = await ask('get_domains')
      t.equal(Number(domains.get('domains')) > 1, true)
      for (let i = 1; i <= Number(domains.get('domains')); i++) {
        for (let j = 1; j <= Number(domains.get(`domain${i}classes`)); j++) {
          for (const field of ['name', 'mindevcount', 'replpolicy', 'hashtype']) {
            t.ok(domains.get(`domain${i}class${j}${field}`), `domain${i}class${j}${field}`)
          }
        }
      }
      await ask('delete_class', { domain: name, class: 'c' })
      await ask('delete_domain', { domain: name })
      t.equal(await code('delete_domain', { domain: name }), 'domain_not_found')

      const created = await ask('create_host', { host: name, ip: `127.0.0.${devid}`, port: '7500' })
      t.strictSame([...created.keys()], ['hostid', 'hostname'])
      await ask('create_host', { host: name, status: 'alive', update: '1' })
      await ask('update_host', { host: name, status: 'down' })
      await ask('create_device', { hostname: name, devid, state: 'down' })
      await ask('set_state', { host: name, device: devid, state: 'dead' })
      await ask('set_weight', { host: name, device: devid, weight: '5' })
      t.equal((await ask('get_devices', { devid })).get('dev1_weight'), '5')
      const hosts = await ask('get_hosts')
      t.equal(hosts.get(`host${hosts.get('hosts')}_hostname`), name)
      t.equal(await code('delete_host', { host: name }), 'host_not_empty')
      t.equal((await ask('clear_cache', { all: '1' })).get('all'), '1')
      await ask('noop')
    })
  }

  t.test(
    'a client in Perl says and sends the very bytes',
    { skip: existsSync(perlBinary) ? false : 'perl is not installed' },
    async t => {
      const { stdout } = await promisify(execFile)(perlBinary, [perlScript, cluster.wire, domain])
      t.equal(stdout, 'ok\n')
    },
  )
})

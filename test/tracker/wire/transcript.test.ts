import t, { type Test } from 'tap'
import { startCluster } from '../../helpers/cluster.ts'
import { closeLine, open, urlOf, write } from './files.ts'
import { lineOf, openTalk, pairsOf, readOpened } from './talk.ts'

t.test('the documented conversation, byte for byte', async t => {
  const cluster = await startCluster(t, { hosts: 2, open: true })
  await cluster.api.createDomain('testdom')
  const talk = await openTalk(t, cluster.wire)

  const first = await talk.ask('create_open domain=testdom&class=&key=a+b&fid=0&multi_dest=1')
  const { fid, targets } = readOpened(first)
  const [one, two] = targets.map(({ devid }) => devid)
  t.strictSame(new Set([one, two]), new Set([1, 2]), 'two hosts give two destinations')
  const url = (devid = 0, of = fid): string => urlOf(cluster, devid, of)
  t.equal(
    first,
    `OK fid=${fid}&dev_count=2&devid_1=${one}&path_1=${url(one)}&devid_2=${two}&path_2=${url(two)}`,
  )

  await write(url(one), 'hello')
  const close = `create_close fid=${fid}&devid=${one}&domain=testdom&size=5&key=a+b&path=${url(one)}`
  t.equal(await talk.ask(close), 'OK ')
  t.equal(await talk.ask(close), 'ERR no_temp_file No+tempfile+or+file+already+closed')

  await cluster.settled()
  const paths = await talk.ask('get_paths domain=testdom&key=a+b&noverify=1&pathcount=2&zone=alt')
  const orders = [
    [one, two],
    [two, one],
  ].map(([a, b]) => `OK paths=2&path1=${url(a)}&path2=${url(b)}`)
  t.ok(orders.includes(paths), paths)

  const single = await talk.ask('CREATE_OPEN domain=testdom&key=x y&class=&multi_dest=0')
  const { fid: next, targets: only } = readOpened(single)
  t.equal(single, `OK fid=${next}&devid=${only[0]?.devid}&path=${url(only[0]?.devid, next)}`)
  t.ok(next > fid)

  const rows: [asked: string, answer: string][] = [
    [
      'file_info domain=testdom&key=a%20b',
      `OK fid=${fid}&domain=testdom&class=default&key=a+b&length=5&devcount=2`,
    ],
    [
      'list_keys domain=testdom&prefix=a&after=&limit=1000',
      'OK key_count=1&next_after=a+b&key_1=a+b',
    ],
    [
      'list_keys domain=testdom&prefix=a&after=a+b',
      'ERR none_match No+keys+match+that+pattern+and+after-value+%28if+any%29.',
    ],
    ['delete domain=testdom&key=nope&callid=7', 'ERR unknown_key unknown_key 7'],
    ['noop callid=8', 'OK callid=8'],
    ['noop', 'OK '],
    ['bogus', 'ERR unknown_command Unknown+server+command'],
    [
      'get_domains',
      'OK domains=2&domain1=test&domain1classes=1&domain1class1name=default&domain1class1mindevcount=2' +
        '&domain1class1replpolicy=MultipleHosts%28%29&domain1class1hashtype=NONE' +
        '&domain2=testdom&domain2classes=1&domain2class1name=default&domain2class1mindevcount=2' +
        '&domain2class1replpolicy=MultipleHosts%28%29&domain2class1hashtype=NONE',
    ],
    ['sleep duration=1', 'OK '],
  ]
  for (const [asked, answer] of rows) t.equal(await talk.ask(asked), answer)

  await write(url(only[0]?.devid, next), 'x')
  const taken = {
    domain: 'testdom',
    key: 'taken',
    fid: next,
    devid: only[0]!.devid,
    path: only[0]!.path,
  }
  t.equal(await talk.ask(lineOf('create_close', taken)), 'OK ')
  t.strictSame(
    await talk.exchange('rename domain=testdom&from_key=a+b&to_key=taken\r\nnoop\r\n', 2),
    ['ERR key_exists Target+key+name+already+exists%3B+can%27t+overwrite.', 'OK '],
  )
  t.equal(talk.unread(), '')
})

t.test('with signed URLs', async t => {
  const cluster = await startCluster(t, { hosts: 1, classes: { single: 1 } })
  const talk = await openTalk(t, cluster.wire)
  const upload = async (t: Test, key: string, pathOf: (path: string) => string): Promise<void> => {
    const opened = await open(talk, key, { class: 'single' })
    const { devid, path } = opened.targets[0]!
    t.match(path, /^http:\/\/[\w.:/-]+\.fid\?[\w.-]+$/, 'it needs no decoding')
    const bare = path.split('?', 1)[0] ?? ''
    t.equal((await fetch(bare, { method: 'PUT', body: 'hello' })).status, 403)
    await write(path, 'hello')
    t.equal(await talk.ask(closeLine(opened, key, { devid, path: pathOf(path), size: 5 })), 'OK ')
    const paths = pairsOf(await talk.ask(lineOf('get_paths', { domain: 'test', key })))
    const found = paths.get('path1') ?? ''
    t.match(found, /^http:\/\/[\w.:/-]+\.fid\?[\w.-]+$/)
    t.equal(await (await fetch(found)).text(), 'hello')
    t.equal(
      (await fetch(found, { method: 'PUT', body: 'hello' })).status,
      403,
      'reading is not writing',
    )
  }
  t.test('a path is PUT, closed and read as it was given out', t =>
    upload(t, 'as-given', path => path),
  )
  t.test('a close may name the path without its signature', t =>
    upload(t, 'bare', path => path.split('?', 1)[0] ?? ''),
  )
})

import t from 'tap'
import type { FileInfo, FileList } from '../../../common/protocol/files.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { createCall, putFile } from './calls.ts'

t.test('every byte string of 1 to 1,024 bytes is a key of its own', async t => {
  const cluster = await startCluster(t, { hosts: 1 })
  const call = createCall(cluster.http, cluster.token)
  const files = '/v1/domains/test/files/'

  const encoded = [
    '.',
    '..',
    '%2E',
    '%2F..%2F',
    'a%2F..%2Fb',
    'a/../b/',
    '%2F',
    '//',
    '%FF',
    '%C3%A9',
    '%C3',
    '%00',
    '%0D%0A',
    '%25FF',
    '%3Fkey%3Dx',
    'a%20b',
    'a+b',
    'a%26b%3Dc',
    '0',
    '%EF%BB%BFbom',
    'x'.repeat(1024),
    '%FF'.repeat(1024),
  ]
  const bytesOf = (text: string): Buffer =>
    Buffer.from(
      text.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
      'latin1',
    )
  const distinct = new Map(encoded.map(text => [bytesOf(text).toString('hex'), text]))
  t.equal(distinct.size, encoded.length - 1, "'.' and '%2E' are one key")
  const fids = new Map<string, number>()
  for (const [hex] of distinct) {
    const keyBytes = Buffer.from(hex, 'hex').toString('base64url')
    fids.set(hex, (await putFile(call, { keyBytes }, hex)).fid)
  }

  for (const text of encoded) {
    t.test(text.length > 40 ? `${text.slice(0, 6)}… of 1,024 bytes` : text, async t => {
      const bytes = bytesOf(text)
      const inPath = await call('GET', files + text)
      const inQuery = await call('GET', `${files}?key=${text.replaceAll('+', '%2B')}`)
      t.equal(inPath.status, 200)
      t.strictSame(inQuery.json(), inPath.json())
      const info = inPath.json<FileInfo>()
      t.equal(info.fid, fids.get(bytes.toString('hex')))
      const utf8 = Buffer.from(bytes.toString()).equals(bytes)
      t.equal(info.keyBytes, utf8 ? undefined : bytes.toString('base64url'))
      if (utf8) t.equal(info.key, bytes.toString())
    })
  }

  t.test('a plus in a query is a space, in a path it is itself', async t => {
    t.equal((await call('GET', `${files}?key=a+b`)).json<FileInfo>().key, 'a b')
    t.equal((await call('GET', `${files}a+b`)).json<FileInfo>().key, 'a+b')
  })

  t.test('the key in the query wins, and stays out of the path', async t => {
    t.equal((await call('GET', `${files}a%20b?key=..`)).json<FileInfo>().key, '..')
  })

  t.test('they are listed in the order of their bytes', async t => {
    const { files } = (await call('GET', '/v1/domains/test/files')).json<FileList>()
    const listed = files.map(({ key, keyBytes }) =>
      (keyBytes === undefined ? Buffer.from(key) : Buffer.from(keyBytes, 'base64url')).toString(
        'hex',
      ),
    )
    t.strictSame(listed, [...distinct.keys()].sort())
  })

  t.test('bytes and text can be renamed into each other', async t => {
    const bytes = Buffer.from('ff', 'hex').toString('base64url')
    const there = await call('POST', '/v1/domains/test/rename', {
      json: { fromBytes: bytes, to: 'text' },
    })
    t.match(there.json(), { key: 'text', fid: fids.get('ff') })
    t.equal((await call('GET', `${files}%FF`)).code, 'unknown_key')
    const back = await call('POST', '/v1/domains/test/rename', {
      json: { from: 'text', toBytes: bytes },
    })
    t.equal(back.json<FileInfo>().keyBytes, bytes)
    t.equal((await call('GET', `${files}%FF`)).status, 200)
  })

  t.test('a URL that a parser folds reaches another file than the one that is sent', async t => {
    t.equal((await call('DELETE', `${files}..`)).status, 204)
    t.equal((await call('GET', `${files}..`)).code, 'unknown_key')
    t.equal((await call('GET', `${files}.`)).status, 200)
  })
})

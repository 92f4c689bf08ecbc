import t from 'tap'
import type {
  CreatedToken,
  DeviceInfo,
  DomainInfo,
  HostInfo,
} from '../../../common/protocol/configuration.ts'
import type { FileInfo, Located } from '../../../common/protocol/files.ts'
import type { ClusterStatus } from '../../../common/protocol/status.ts'
import { hostSecret } from '../../../common/signing.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { createCall, openUpload, putFile } from './calls.ts'

t.test('the routes do what they say', async t => {
  const cluster = await startCluster(t, { hosts: 2, classes: { single: 1 } })
  const call = createCall(cluster.http, cluster.token)

  t.test('a file is put, seen, located, changed, renamed, listed and deleted', async t => {
    const fields = { contentType: 'text/plain', metadata: { who: 'Zoë' }, class: 'single' }
    const committed = await putFile(call, { key: 'a/b' }, 'hello', fields)
    t.match(committed, {
      domain: 'test',
      key: 'a/b',
      class: 'single',
      size: 5,
      sha256: '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824',
      contentType: 'text/plain',
      metadata: { who: 'Zoë' },
      copies: 1,
    })
    const seen = await call('GET', '/v1/domains/test/files/a%2Fb')
    t.equal(seen.status, 200)
    const { copies: _, ...file } = committed
    t.strictSame(seen.json<FileInfo>(), file)
    t.equal((await call('HEAD', '/v1/domains/test/files/a%2Fb')).status, 200)

    for (const path of ['locations/a%2Fb', 'locations?key=a/b', 'locations/?key=a%2Fb']) {
      const located = (await call('GET', `/v1/domains/test/${path}`)).json<Located>()
      t.equal(located.fid, file.fid)
      t.ok(Date.parse(located.expiresAt) > Date.now())
      const [url] = located.urls
      t.equal(await (await fetch(url ?? '')).text(), 'hello', path)
    }

    const change = { class: 'default', contentType: null, metadata: { x: '1' } }
    const changed = await call('PATCH', '/v1/domains/test/files/a%2Fb', { json: change })
    t.equal(changed.status, 200)
    t.match(changed.json(), { class: 'default', metadata: { x: '1' }, fid: file.fid })
    t.notOk('contentType' in changed.json())
    t.ok(changed.json<FileInfo>().modifiedAt > file.modifiedAt)

    const renamed = await call('POST', '/v1/domains/test/rename', {
      json: { from: 'a/b', to: 'c' },
    })
    t.match([renamed.status, renamed.json()], [200, { key: 'c', fid: file.fid }])
    t.equal((await call('GET', '/v1/domains/test/files/a%2Fb')).code, 'unknown_key')

    const listed = await call('GET', '/v1/domains/test/files?prefix=c')
    t.match(listed.json(), { files: [{ key: 'c', fid: file.fid }], prefixes: [] })

    const deleted = await call('DELETE', '/v1/domains/test/files/c')
    t.strictSame([deleted.status, deleted.text], [204, ''])
    t.equal((await call('DELETE', '/v1/domains/test/files/c')).code, 'unknown_key')
  })

  t.test('an upload that is given up is gone', async t => {
    const { upload } = await openUpload(call, { key: 'given-up' })
    const path = `/v1/domains/test/uploads/${upload}`
    t.equal((await call('DELETE', path)).status, 204)
    t.equal((await call('DELETE', path)).code, 'no_upload')
  })

  t.test('domains and classes are made, changed and removed', async t => {
    const made = await call('POST', '/v1/domains', { json: { name: 'photos & more' } })
    const standard = {
      name: 'default',
      mindevcount: 2,
      replpolicy: 'MultipleHosts()',
      hashtype: 'NONE',
      ackCopies: 1,
    }
    t.strictSame(
      [made.status, made.json()],
      [201, { name: 'photos & more', classes: [standard], trashSeconds: 0 }],
    )
    t.equal(
      (await call('POST', '/v1/domains', { json: { name: 'photos & more' } })).code,
      'domain_exists',
    )

    const classes = `/v1/domains/${encodeURIComponent('photos & more')}/classes`
    const thumb = {
      name: 'thumb',
      mindevcount: 3,
      replpolicy: 'MultipleDevices()',
      hashtype: 'MD5',
    }
    const created = await call('POST', classes, { json: thumb })
    t.strictSame([created.status, created.json()], [201, { ...thumb, ackCopies: 1 }])
    t.equal((await call('POST', classes, { json: thumb })).code, 'class_exists')
    const changed = await call('PATCH', `${classes}/thumb`, { json: { hashtype: 'NONE' } })
    t.strictSame(changed.json(), { ...thumb, hashtype: 'NONE', ackCopies: 1 })
    const raised = await call('PATCH', `${classes}/default`, { json: { mindevcount: 3 } })
    t.match(raised.json(), { name: 'default', mindevcount: 3 })
    t.equal((await call('GET', classes)).json<unknown[]>().length, 2)

    const domain = `/v1/domains/${encodeURIComponent('photos & more')}`
    t.equal((await call('DELETE', domain)).code, 'domain_has_classes')
    t.equal((await call('DELETE', `${classes}/default`)).code, 'nodel_default_class')
    t.equal((await call('DELETE', `${classes}/thumb`)).status, 204)
    t.equal((await call('DELETE', `${classes}/thumb`)).code, 'class_not_found')
    t.equal((await call('DELETE', domain)).status, 204)
    t.equal((await call('DELETE', domain)).code, 'domain_not_found')
    const names = (await call('GET', '/v1/domains')).json<DomainInfo[]>().map(({ name }) => name)
    t.strictSame(names, ['test'])
  })

  t.test('what holds files stays', async t => {
    await putFile(call, { key: 'stays' }, 'x', { class: 'single' })
    t.equal((await call('DELETE', '/v1/domains/test')).code, 'domain_has_files')
    t.equal((await call('DELETE', '/v1/domains/test/classes/single')).code, 'class_has_files')
  })

  t.test('hosts and devices are made, changed and removed', async t => {
    const fields = { name: 'n9', ip: '127.0.0.9', port: 7500 }
    const made = await call('POST', '/v1/hosts', { json: fields })
    t.equal(made.status, 201)
    t.match(made.json(), {
      ...fields,
      status: 'down',
      getPort: null,
      altip: null,
      observed: 'unknown',
    })
    t.equal((await call('POST', '/v1/hosts', { json: fields })).code, 'host_exists')
    const same = { ...fields, name: 'n10' }
    t.equal((await call('POST', '/v1/hosts', { json: same })).code, 'dup')
    const change = { status: 'readonly', getPort: 7600, zone: 'east' }
    t.match((await call('PATCH', '/v1/hosts/n9', { json: change })).json(), {
      ...fields,
      ...change,
    })
    t.match((await call('PATCH', '/v1/hosts/n9', { json: { getPort: null } })).json(), {
      getPort: null,
    })
    t.equal((await call('PATCH', '/v1/hosts/n8', { json: change })).code, 'host_not_found')

    const device = { devid: 90, host: 'n9', weight: 7 }
    const created = await call('POST', '/v1/devices', { json: device })
    t.match(
      [created.status, created.json()],
      [201, { ...device, status: 'alive', totalBytes: null }],
    )
    t.equal((await call('POST', '/v1/devices', { json: device })).code, 'existing_devid')
    t.equal(
      (await call('POST', '/v1/devices', { json: { devid: 91, host: 'n8' } })).code,
      'unknown_host',
    )
    const path = '/v1/devices/90'
    t.match((await call('PATCH', path, { json: { weight: 0 } })).json(), {
      weight: 0,
      status: 'alive',
    })
    t.match((await call('PATCH', path, { json: { status: 'dead' } })).json(), { status: 'dead' })
    t.equal((await call('PATCH', path, { json: { status: 'alive' } })).code, 'state_too_high')
    t.equal((await call('PATCH', '/v1/devices/4711', { json: { weight: 1 } })).code, 'no_device')
    t.ok((await call('GET', '/v1/devices')).json<DeviceInfo[]>().some(({ devid }) => devid === 90))

    t.equal((await call('DELETE', '/v1/hosts/n9')).code, 'host_not_empty')
    t.equal((await call('POST', '/v1/hosts', { json: { ...same, port: 7501 } })).status, 201)
    t.equal((await call('DELETE', '/v1/hosts/n10')).status, 204)
    t.equal((await call('DELETE', '/v1/hosts/n10')).code, 'unknown_host')
    const hosts = (await call('GET', '/v1/hosts')).json<HostInfo[]>()
    t.strictSame(
      hosts.map(({ name }) => name),
      ['node1', 'node2', 'n9'],
    )
  })

  t.test("a host's key is the one its node derives everything from", async t => {
    const answer = await call('GET', '/v1/hosts/not-yet/key')
    t.strictSame(answer.json(), { host: 'not-yet', secret: hostSecret(cluster.secret, 'not-yet') })
    t.equal(answer.headers['cache-control'], 'no-store')
  })

  t.test('settings are set and taken back', async t => {
    const path = '/v1/settings/upload_seconds'
    t.equal((await call('PUT', path, { json: { value: '600' } })).status, 204)
    t.match((await call('GET', '/v1/settings')).json(), { upload_seconds: '600' })
    t.equal((await call('DELETE', path)).status, 204)
    t.notOk('upload_seconds' in (await call('GET', '/v1/settings')).json())
    t.equal(
      (await call('PUT', '/v1/settings/nonsense', { json: { value: '1' } })).code,
      'not_writable',
    )
    t.equal((await call('PUT', path, { json: { value: 'maybe' } })).code, 'invalid_format')
  })

  t.test("a token's text is shown once", async t => {
    const json = { name: 'once', scope: 'read', domain: 'test' }
    const made = await call('POST', '/v1/tokens', { json })
    const { token, ...info } = made.json<CreatedToken>()
    t.match([made.status, info], [201, json])
    t.match(token, /^[\w-]{43}$/)
    t.equal(made.headers['cache-control'], 'no-store')
    const listed = await call('GET', '/v1/tokens')
    t.strictSame(
      listed.json<{ name: string }[]>().find(({ name }) => name === 'once'),
      info,
    )
    t.notOk(listed.text.includes(token))
    t.equal((await call('POST', '/v1/tokens', { json })).code, 'token_exists')
    t.equal((await call('DELETE', `/v1/tokens/${info.id}`)).status, 204)
    t.equal((await call('DELETE', `/v1/tokens/${info.id}`)).code, 'token_not_found')
  })

  t.test('status and targets show the cluster', async t => {
    const status = (await call('GET', '/v1/status')).json<ClusterStatus>()
    t.match(status.version, /^\d+\.\d+\.\d+/)
    t.match(status.queues, { replicate: { waiting: Number }, delete: { waiting: Number } })
    const addresses = cluster.nodes.map(({ service }) => service.listening()['http'])
    const { targets } = (await call('GET', '/v1/targets')).json<{ targets: string[] }>()
    t.strictSame(new Set(targets.slice(0, 2)), new Set(addresses))
  })

  t.test('the API describes itself', async t => {
    const answer = await call('GET', '/openapi.json')
    const { paths } = answer.json<{ paths: Record<string, Record<string, unknown>> }>()
    const routes = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map(method => `${method} ${path}`),
    )
    t.strictSame(routes.sort(), [
      'delete /v1/devices/{devid}/drain',
      'delete /v1/domains/{domain}',
      'delete /v1/domains/{domain}/classes/{class}',
      'delete /v1/domains/{domain}/files/',
      'delete /v1/domains/{domain}/trash',
      'delete /v1/domains/{domain}/uploads/{upload}',
      'delete /v1/fsck/log',
      'delete /v1/hosts/{host}',
      'delete /v1/hosts/{host}/drain',
      'delete /v1/scrubs/{id}',
      'delete /v1/settings/{name}',
      'delete /v1/tokens/{id}',
      'get /v1/audit',
      'get /v1/damage',
      'get /v1/devices',
      'get /v1/domains',
      'get /v1/domains/{domain}/classes',
      'get /v1/domains/{domain}/debug',
      'get /v1/domains/{domain}/files',
      'get /v1/domains/{domain}/files/',
      'get /v1/domains/{domain}/locations',
      'get /v1/domains/{domain}/locations/',
      'get /v1/domains/{domain}/trash',
      'get /v1/drains',
      'get /v1/fids',
      'get /v1/fids/{fid}',
      'get /v1/fsck',
      'get /v1/fsck/log',
      'get /v1/hosts',
      'get /v1/hosts/{host}/key',
      'get /v1/queues',
      'get /v1/queues/stuck',
      'get /v1/rebalance',
      'get /v1/scrubs',
      'get /v1/settings',
      'get /v1/stats',
      'get /v1/status',
      'get /v1/sweeps',
      'get /v1/targets',
      'get /v1/tokens',
      'patch /v1/devices/{devid}',
      'patch /v1/domains/{domain}',
      'patch /v1/domains/{domain}/classes/{class}',
      'patch /v1/domains/{domain}/files/',
      'patch /v1/hosts/{host}',
      'post /v1/devices',
      'post /v1/devices/{devid}/drain',
      'post /v1/domains',
      'post /v1/domains/{domain}/batch/delete',
      'post /v1/domains/{domain}/batch/locate',
      'post /v1/domains/{domain}/classes',
      'post /v1/domains/{domain}/rename',
      'post /v1/domains/{domain}/undelete',
      'post /v1/domains/{domain}/uploads',
      'post /v1/domains/{domain}/uploads/{upload}/commit',
      'post /v1/fsck/reset',
      'post /v1/fsck/start',
      'post /v1/fsck/stop',
      'post /v1/hosts',
      'post /v1/hosts/{host}/drain',
      'post /v1/rebalance/reset',
      'post /v1/rebalance/start',
      'post /v1/rebalance/stop',
      'post /v1/rebalance/test',
      'post /v1/refresh',
      'post /v1/rehearsals',
      'post /v1/replicate-now',
      'post /v1/reports/replica',
      'post /v1/scrubs',
      'post /v1/tokens',
      'put /v1/rebalance/policy',
      'put /v1/settings/{name}',
    ])
  })

  t.test('health needs no token', async t => {
    t.strictSame((await call('GET', '/health', { token: null })).json(), { status: 'ok' })
  })
})

/** Real storage nodes with a tracker's stand-in before them, which keeps names in memory. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import type { Test } from 'tap'
import { createClient, type Client, type ClientOptions } from '../../client/index.ts'
import { CodedError, isCoded } from '../../common/errors.ts'
import { errorBody } from '../../common/http.ts'
import { decodeKey, encodeKey, keyFromJson, keyToJson } from '../../common/keys.ts'
import { replicaPath } from '../../common/layout.ts'
import type { CommitUpload, Committed, Located, OpenUpload } from '../../common/protocol/files.ts'
import type { ReplicaReport } from '../../common/protocol/upkeep.ts'
import { checkReceipt, parseReceipt, signGrant } from '../../common/signing.ts'
import { keys, secret, startNode, type TestNode } from '../storage-node/node.ts'
import { bodyOf, startPeer } from './peer.ts'

/** A place for a replica: a real node, or any server that stands for one. */
export interface Place {
  readonly devid: number
  readonly host: string
  readonly origin: string
}

interface Upload extends OpenUpload {
  readonly fid: number
}

export interface StandIn {
  readonly client: Client
  readonly url: string
  readonly nodes: readonly TestNode[]
  /** Where uploads are sent and files are read, best first. */
  places: Place[]
  /** Copies an upload is asked to write. */
  copies: number
  readonly commits: CommitUpload[]
  readonly abandoned: string[]
  readonly opened: OpenUpload[]
  /** Called when an upload was opened, before the client knows. */
  onOpen: () => void
  readonly located: string[]
  readonly reports: ReplicaReport[]
  /** By percent-encoded key. */
  readonly files: Map<string, Located>
}

/** Starts `hosts` nodes of one device each, the stand-in, and a client of domain `photos`. */
export async function startStandIn(
  t: Test,
  { hosts = 3, ...options }: { hosts?: number } & Partial<ClientOptions> = {},
): Promise<StandIn> {
  const root = t.testdir()
  const nodes: TestNode[] = []
  const places: Place[] = []
  for (let devid = 1; devid <= hosts; devid++) {
    const host = `h${devid}`
    const node = await startNode(t, { root: join(root, host), devices: [devid], secret })
    nodes.push(node)
    places.push({ devid, host, origin: `http://127.0.0.1:${node.port}` })
  }
  const uploads = new Map<string, Upload>()
  const answers = new Map<string, Committed>()
  let fids = 100

  const urlOf = (
    { devid, origin }: Place,
    { fid, method }: { fid: number; method: 'GET' | 'PUT' },
  ): string => {
    const expires = Math.floor(Date.now() / 1000) + 3600
    const token = signGrant(keys, { method, devid, object: String(fid) }, expires)
    return `${origin}${replicaPath({ devid, fid })}?${token}`
  }
  const placeOf = (devid: number): Place => {
    const place = state.places.find(p => p.devid === devid)
    if (!place) throw new CodedError('no_device', `no device ${devid}`)
    return place
  }

  function open(body: OpenUpload): object {
    const fid = ++fids
    state.opened.push(body)
    state.onOpen()
    uploads.set(`u${fid}`, { ...body, fid })
    return {
      upload: `u${fid}`,
      fid,
      copies: state.copies,
      targets: state.places.map(place => ({
        devid: place.devid,
        host: place.host,
        url: urlOf(place, { fid, method: 'PUT' }),
      })),
      expiresAt: new Date(Date.now() + 3600_000).toISOString(),
    }
  }

  function commit(id: string, body: CommitUpload): Committed {
    const before = answers.get(id)
    if (before) return before
    const upload = uploads.get(id)
    if (!upload) throw new CodedError('no_upload', 'no such upload')
    for (const { devid, receipt } of body.copies) {
      if (receipt === undefined) continue
      const told = parseReceipt(receipt)
      if (told?.devid !== devid || !checkReceipt([keys], receipt)) {
        throw new CodedError('bad_receipt', 'bad receipt')
      }
    }
    state.commits.push(body)
    const now = new Date().toISOString()
    const key = keyFromJson(upload)
    const committed = {
      domain: 'photos',
      ...keyToJson(key),
      fid: upload.fid,
      class: upload.class ?? 'default',
      size: body.size ?? 0,
      ...(body.sha256 !== undefined && { sha256: body.sha256 }),
      ...(upload.contentType !== undefined && { contentType: upload.contentType }),
      metadata: upload.metadata ?? {},
      createdAt: now,
      modifiedAt: now,
      devids: body.copies.map(({ devid }) => devid),
    }
    state.files.set(encodeKey(key), { ...committed, urls: [], expiresAt: now })
    const answer = { ...committed, copies: committed.devids.length }
    answers.set(id, answer)
    return answer
  }

  function route(request: IncomingMessage, body: unknown): object | undefined {
    const { method, url = '' } = request
    const [path = '', query = ''] = url.split('?')
    const key = /(?:^|&)key=([^&]*)/.exec(query)?.[1] ?? ''
    const [, upload = '', action] = /\/uploads\/([^/]+)(\/commit)?$/.exec(path) ?? []
    if (method === 'POST' && path.endsWith('/uploads')) return open(body as OpenUpload)
    if (method === 'POST' && action) return commit(upload, body as CommitUpload)
    if (method === 'DELETE' && upload) {
      state.abandoned.push(upload)
      uploads.delete(upload)
      return undefined
    }
    if (path.endsWith('/reports/replica')) {
      state.reports.push(body as ReplicaReport)
      return undefined
    }
    const file = state.files.get(key)
    if (!file) throw new CodedError('unknown_key', `no file ${decodeKey(key).toString()}`)
    if (method === 'DELETE') {
      state.files.delete(key)
      return undefined
    }
    if (!path.endsWith('/locations')) return file
    state.located.push(key)
    const order = state.places.filter(({ devid }) => file.devids.includes(devid))
    const urls = order.map(({ devid }) => urlOf(placeOf(devid), { fid: file.fid, method: 'GET' }))
    return { ...file, urls }
  }

  async function answer(request: IncomingMessage, reply: ServerResponse): Promise<void> {
    const text = (await bodyOf(request)).toString()
    try {
      const value = route(request, text === '' ? undefined : JSON.parse(text))
      if (value === undefined) {
        reply.writeHead(204).end()
        return
      }
      reply.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value))
    } catch (err) {
      if (!isCoded(err)) throw err
      const body = errorBody(err)
      reply.writeHead(body.statusCode, { 'content-type': 'application/json' })
      reply.end(JSON.stringify(body))
    }
  }

  const peer = await startPeer(t, answer)
  const client = createClient({ trackers: [peer.url], token: 'x', domain: 'photos', ...options })
  t.teardown(() => client.close())
  const state: StandIn = {
    client,
    url: peer.url,
    nodes,
    places,
    copies: 2,
    onOpen: () => {},
    commits: [],
    abandoned: [],
    opened: [],
    located: [],
    reports: [],
    files: new Map(),
  }
  return state
}

/**
 * Directories on storage nodes. Ours make those that a PUT needs; other WebDAV servers (Apache,
 * lighttpd) have to be asked for each beforehand, with MKCOL, as MogileFS's trackers do it.
 */
import type { StorageClient } from '../../client/storage.ts'
import { formatAddress } from '../../common/config.ts'
import { fidPath } from '../../common/layout.ts'
import type { HostRow } from '../store/hosts.ts'
import type { ClusterState } from './state.ts'
import type { ReplicaUrls } from './urls.ts'

/** Milliseconds a node has for each answer. */
const answerMs = 2_000
/** Seconds that its signature holds. */
const urlSeconds = 60
/** Milliseconds for which a directory is known to be there, and a node to need none of this. */
const rememberMs = 3_600_000
/** What is remembered at most; then all is asked for once more. */
const maxRemembered = 20_000

/** What a node answers that need not be asked again. */
const needless = new Set([400, 501])

interface DirectoriesOptions {
  readonly cluster: ClusterState
  readonly urls: ReplicaUrls
  readonly storage: Pick<StorageClient, 'makeDirectory'>
}

interface Directory {
  readonly devid: number
  /** Below the device. */
  readonly name: string
  /** What a request for it ends with. */
  readonly end: '/' | ''
}

export class Directories {
  readonly #options: DirectoriesOptions
  /** Until when, by the origins of nodes and by the URLs of directories. */
  readonly #remembered = new Map<string, number>()

  constructor(options: DirectoriesOptions) {
    this.#options = options
  }

  /**
   * Makes the directories in which a replica of `fid` lies on these devices. Resolves when every node
   * has answered, undefined when none has to be asked; what a node says to it does not matter, the PUT
   * will tell. Never rejects.
   */
  forReplica(fid: number, devids: readonly number[]): Promise<unknown> | undefined {
    const { devices, hosts } = this.#options.cluster.snapshot
    const asked = devids.flatMap(devid => {
      const host = hosts.get(devices.get(devid)?.hostId ?? 0)
      return host && this.#asks(host) ? [{ host, devid }] : []
    })
    if (asked.length === 0) return undefined
    const [b, mmm, ttt] = fidPath(fid).split('/')
    return Promise.all(
      asked.map(async ({ host, devid }) => {
        for (const name of [`${b}`, `${b}/${mmm}`, `${b}/${mmm}/${ttt}`]) {
          // Apache answers with a redirect to who leaves the slash out.
          if (!(await this.#make(host, { devid, name, end: '/' }))) return
        }
      }),
    )
  }

  /** Makes the directory in which a device is tested. */
  async forTest(host: HostRow, devid: number): Promise<void> {
    if (this.#asks(host)) await this.#make(host, { devid, name: 'test-write', end: '' })
  }

  #asks(host: HostRow): boolean {
    const { settings } = this.#options.cluster.snapshot
    return settings.get('skip_mkcol') !== '1' && !this.#remembers(originOf(host))
  }

  /** False when the node keeps silent, or needs none of this. */
  async #make(host: HostRow, { devid, name, end }: Directory): Promise<boolean> {
    const directory = `${originOf(host)}/dev${devid}/${name}`
    if (this.#remembers(directory)) return true
    // Signed, so that a node of ours says that it needs none.
    const signed = this.#options.urls.object(
      host,
      { devid, name },
      { method: 'PUT', seconds: urlSeconds },
    )
    const url = signed.replace(/(?=\?|$)/, end)
    const signal = AbortSignal.timeout(answerMs)
    const status = await this.#options.storage.makeDirectory(url, { signal }).catch(() => undefined)
    if (status === undefined) return false
    if (needless.has(status)) {
      this.#remember(originOf(host))
      return false
    }
    if (status >= 200 && status < 300) this.#remember(directory)
    return true
  }

  #remembers(what: string): boolean {
    return (this.#remembered.get(what) ?? Number.NEGATIVE_INFINITY) > performance.now()
  }

  #remember(what: string): void {
    if (this.#remembered.size >= maxRemembered) this.#remembered.clear()
    this.#remembered.set(what, performance.now() + rememberMs)
  }
}

const originOf = ({ ip, port }: HostRow): string => `http://${formatAddress({ host: ip, port })}`

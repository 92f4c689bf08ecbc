/**
 * A driver for unstorage, and with it for Nitro and Nuxt.
 *
 * @module omgfiles/adapters/unstorage
 */
import type { Driver } from 'unstorage'
import { isCoded } from '../../common/errors.ts'
import type { PutBody } from '../body.ts'
import type { FileEntry } from '../entries.ts'
import type { FileFields, Files } from '../files.ts'

/** Where values are stored, and how. */
export interface UnstorageOptions {
  /** Prefix of all keys, such as `cache/`. */
  readonly prefix?: string
  /** Class, durability and so on of values that are set. */
  readonly fields?: Omit<FileFields, 'size'>
}

/**
 * The driver: `createStorage({ driver: unstorageDriver(files) })`. Colons in its keys are slashes in the
 * store. Options of a single `setItem`, such as `contentType`, win over `fields`.
 */
export function unstorageDriver(
  files: Pick<Files, 'put' | 'get' | 'stat' | 'exists' | 'delete' | 'deleteMany' | 'list'>,
  { prefix = '', fields = {} }: UnstorageOptions = {},
): Driver {
  const toKey = (name: string): string => prefix + name.replaceAll(':', '/')
  const toName = ({ key }: FileEntry): string => key.slice(prefix.length).replaceAll('/', ':')

  async function set(name: string, value: PutBody, own: FileFields = {}): Promise<void> {
    await files.put(toKey(name), value, { ...fields, ...own })
  }
  const list = (base = ''): AsyncIterable<FileEntry> => files.list({ prefix: toKey(base) })

  return {
    name: 'omgfiles',
    hasItem: name => files.exists(toKey(name)),
    getItem: name => orNull(async () => (await files.get(toKey(name))).text()),
    getItemRaw: name => orNull(async () => (await files.get(toKey(name))).bytes()),
    setItem: set,
    setItemRaw: (name, value: PutBody | ArrayBuffer, own) =>
      set(name, value instanceof ArrayBuffer ? new Uint8Array(value) : value, own),
    async removeItem(name) {
      await orNull(() => files.delete(toKey(name)))
    },
    getMeta: name =>
      orNull(async () => {
        const {
          size,
          etag,
          contentType = null,
          modifiedAt,
          createdAt,
          metadata,
        } = await files.stat(toKey(name))
        return { ...metadata, size, etag, contentType, mtime: modifiedAt, birthtime: createdAt }
      }),
    async getKeys(base) {
      const names: string[] = []
      for await (const file of list(base)) names.push(toName(file))
      return names
    },
    async clear(base) {
      await files.deleteMany(list(base))
    },
  }
}

/** The result of `run`; null when the key does not exist, as unstorage expects it. */
async function orNull<T>(run: () => Promise<T>): Promise<T | null> {
  try {
    return await run()
  } catch (err) {
    if (isCoded(err, 'unknown_key')) return null
    throw err
  }
}

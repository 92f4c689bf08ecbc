/**
 * A driver for FlyDrive, and with it for AdonisJS Drive.
 *
 * @module omgfiles/adapters/flydrive
 */
import type { Readable } from 'node:stream'
import { DriveDirectory, DriveFile } from 'flydrive'
import type {
  DriverContract,
  ObjectMetaData,
  ObjectVisibility,
  SignedURLOptions,
  WriteOptions,
} from 'flydrive/types'
import { CodedError, isCoded } from '../../common/errors.ts'
import type { PutBody } from '../body.ts'
import type { FileEntry } from '../entries.ts'
import type { FileFields, Files, PutOptions } from '../files.ts'

/** How files are stored, and under which URLs they are served. */
export interface FlydriveOptions {
  /** Visibility of files that are put without one; `private` by default. Only stored, for the application. */
  readonly visibility?: ObjectVisibility
  /** Class and durability of files that are put. */
  readonly fields?: Pick<FileFields, 'class' | 'durability'>
  /** Makes the URLs under which the application serves files. The store itself has no public URLs. */
  readonly urlBuilder?: {
    generateURL?(key: string): Promise<string>
    generateSignedURL?(key: string, options: SignedURLOptions): Promise<string>
  }
}

/** Entries in one page of `listAll`. */
const pageSize = 1000

/** Options of a write that are stored as metadata. */
const kept = ['cacheControl', 'contentDisposition', 'contentEncoding', 'contentLanguage'] as const

/** The part of a client that the driver uses. */
export type Store = Pick<
  Files,
  | 'put'
  | 'get'
  | 'stat'
  | 'exists'
  | 'change'
  | 'rename'
  | 'delete'
  | 'deleteMany'
  | 'list'
  | 'signedGet'
>

/** The driver: `new Disk(new OmgfilesDriver(files))`. For uploads by URL, use `files.signedPut` instead. */
export class OmgfilesDriver implements DriverContract {
  readonly #files: Store
  readonly #options: FlydriveOptions

  constructor(files: Store, options: FlydriveOptions = {}) {
    this.#files = files
    this.#options = options
  }

  exists(key: string): Promise<boolean> {
    return this.#files.exists(key)
  }

  async get(key: string): Promise<string> {
    return await (await this.#files.get(key)).text()
  }

  async getStream(key: string): Promise<Readable> {
    return (await this.#files.get(key)).body
  }

  async getBytes(key: string): Promise<Uint8Array> {
    return await (await this.#files.get(key)).bytes()
  }

  async getMetaData(key: string): Promise<ObjectMetaData> {
    return describe(await this.#files.stat(key))
  }

  async getVisibility(key: string): Promise<ObjectVisibility> {
    const { metadata } = await this.#files.stat(key)
    return metadata['visibility'] === 'public' ? 'public' : 'private'
  }

  async setVisibility(key: string, visibility: ObjectVisibility): Promise<void> {
    const { metadata } = await this.#files.stat(key)
    await this.#files.change(key, { metadata: { ...metadata, visibility } })
  }

  async getUrl(key: string): Promise<string> {
    const url = await this.#options.urlBuilder?.generateURL?.(key)
    if (url === undefined) throw unsupported('for URLs, pass urlBuilder.generateURL to the driver')
    return url
  }

  async getSignedUrl(key: string, options: SignedURLOptions = {}): Promise<string> {
    const url = await this.#options.urlBuilder?.generateSignedURL?.(key, options)
    return url ?? (await this.#files.signedGet(key)).url
  }

  async getSignedUploadUrl(): Promise<string> {
    throw unsupported('an upload has to be committed: use signedPut and commitPut of the client')
  }

  async put(key: string, contents: string | Uint8Array, options?: WriteOptions): Promise<void> {
    await this.#put(key, contents, options)
  }

  async putStream(key: string, contents: Readable, options?: WriteOptions): Promise<void> {
    await this.#put(key, contents, options)
  }

  async copy(source: string, destination: string, options?: WriteOptions): Promise<void> {
    const file = await this.#files.get(source)
    const { body, size, contentType, metadata, class: className } = file
    const own = this.#toPut(options)
    await this.#files.put(destination, body, {
      ...own,
      size,
      class: className,
      contentType: own.contentType ?? contentType,
      metadata: { ...own.metadata, ...metadata, ...metadataOf(options) },
    })
  }

  async move(source: string, destination: string, options?: WriteOptions): Promise<void> {
    try {
      await this.#files.rename(source, destination)
    } catch (err) {
      if (!isCoded(err, 'key_exists')) throw err
      // rename never replaces a file, but a move is expected to.
      await this.copy(source, destination, options)
      await this.delete(source)
    }
  }

  async delete(key: string): Promise<void> {
    await this.#files.delete(key).catch((err: unknown) => {
      if (!isCoded(err, 'unknown_key')) throw err
    })
  }

  async deleteAll(prefix: string): Promise<void> {
    await this.#files.deleteMany(this.#files.list({ prefix: directoryOf(prefix) }))
  }

  async listAll(
    prefix: string,
    options: { recursive?: boolean; paginationToken?: string } = {},
  ): Promise<{ paginationToken?: string; objects: Iterable<DriveFile | DriveDirectory> }> {
    const { recursive = false, paginationToken } = options
    const query = { prefix: directoryOf(prefix), after: paginationToken, limit: pageSize }
    const objects: (DriveFile | DriveDirectory)[] = []
    let last = ''
    const entries = recursive
      ? this.#files.list(query)
      : this.#files.list({ ...query, delimiter: '/' })
    for await (const entry of entries) {
      if ('prefix' in entry) objects.push(new DriveDirectory(entry.prefix.replace(/\/$/, '')))
      else objects.push(new DriveFile(entry.key, this, describe(entry)))
      last = 'prefix' in entry ? entry.prefix : entry.key
    }
    return { ...(objects.length === pageSize && { paginationToken: last }), objects }
  }

  async #put(key: string, contents: PutBody, options?: WriteOptions): Promise<void> {
    await this.#files.put(key, contents, this.#toPut(options))
  }

  #toPut(options: WriteOptions = {}): PutOptions {
    const { contentType, contentLength } = options
    const visibility = options.visibility ?? this.#options.visibility ?? 'private'
    return {
      ...this.#options.fields,
      contentType,
      size: contentLength,
      metadata: { visibility, ...metadataOf(options) },
    }
  }
}

function metadataOf(options: WriteOptions = {}): Record<string, string> {
  const { visibility } = options
  const metadata: Record<string, string> = visibility === undefined ? {} : { visibility }
  for (const name of kept) {
    const value = options[name]
    if (value !== undefined) metadata[name] = value
  }
  return metadata
}

const describe = ({ contentType, size, etag, modifiedAt }: FileEntry): ObjectMetaData => ({
  ...(contentType !== undefined && { contentType }),
  contentLength: size,
  etag,
  lastModified: modifiedAt,
})

/** The key prefix of a directory: `a` contains `a/b`, but not `ab`. */
function directoryOf(prefix: string): string {
  const name = prefix.replace(/^\/+|\/+$/g, '')
  return name === '' ? '' : `${name}/`
}

const unsupported = (message: string): CodedError => new CodedError('not_implemented', message)

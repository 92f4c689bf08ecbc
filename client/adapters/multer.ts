/**
 * Files of a multipart form, streamed into the store by multer.
 *
 * @module omgfiles/adapters/multer
 */
import type { Request } from 'express'
import type { StorageEngine } from 'multer'
import { isCoded } from '../../common/errors.ts'
import type { Files, FileFields } from '../files.ts'
import type { Key } from '../tracker-api/index.ts'

type FormFile = Express.Multer.File

/** Where the files of a form go. */
export interface MulterOptions {
  /** The key that a file goes to. Names come from outside: two users may well send the same. */
  readonly key: (request: Request, file: FormFile) => Key | Promise<Key>
  /** Class, durability and metadata of a file. The content type is the one that the form gives. */
  readonly fields?: (
    request: Request,
    file: FormFile,
  ) => Omit<FileFields, 'size'> | Promise<Omit<FileFields, 'size'>>
}

/** What an uploaded file has besides what multer itself says of it. */
export interface StoredFile {
  readonly key: Key
  /** Bytes. */
  readonly size: number
  /** Strong entity tag of the content, with its quotes. */
  readonly etag: string
  /** Lower-case hex. */
  readonly sha256?: string
}

/**
 * A storage engine: `multer({ storage: multerStorage(files, { key: … }) })`. A file is in the store
 * when its request reaches the route, with its key in `file.key`; one that is too large, or whose
 * client goes away, leaves what was there. Files of a request that multer gives up are deleted.
 */
export function multerStorage(
  files: Pick<Files, 'put' | 'delete'>,
  { key: keyOf, fields: fieldsOf }: MulterOptions,
): StorageEngine {
  async function store(request: Request, file: FormFile): Promise<StoredFile> {
    const { stream, mimetype } = file
    const abort = new AbortController()
    // A stream that is cut at the limit ends as a whole one does.
    stream.once('limit', () => abort.abort(new Error('the file is too large')))
    try {
      const [key, fields] = await Promise.all([keyOf(request, file), fieldsOf?.(request, file)])
      const { signal } = abort
      const put = await files.put(key, stream, { contentType: mimetype, ...fields, signal })
      const { size, etag, sha256 } = put
      return { key, size, etag, ...(sha256 !== undefined && { sha256 }) }
    } catch (err) {
      stream.resume() // the form goes on behind it
      throw err
    }
  }

  async function remove({ key }: Partial<StoredFile>): Promise<void> {
    if (key === undefined) return
    await files.delete(key).catch((err: unknown) => {
      if (!isCoded(err, 'unknown_key')) throw err
    })
  }

  return {
    _handleFile(request, file, done) {
      store(request, file).then(stored => done(null, stored as Partial<FormFile>), done)
    },
    _removeFile(_request, file, done) {
      remove(file as Partial<StoredFile>).then(() => done(null), done)
    },
  }
}

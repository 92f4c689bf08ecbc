/**
 * A storage engine for multer, which streams the files of a multipart form into the store.
 *
 * @module omgfiles/adapters/multer
 */
import type { Request } from 'express'
import type { StorageEngine } from 'multer'
import { isCoded } from '../../common/errors.ts'
import type { Files, FileFields } from '../files.ts'
import type { Key } from '../tracker-api/index.ts'

type FormFile = Express.Multer.File

/** Where the files of a form are stored, and how. */
export interface MulterOptions {
  /** The key for a file. Do not rely on the file's name alone: two users may send the same one. */
  readonly key: (request: Request, file: FormFile) => Key | Promise<Key>
  /** Class, durability and metadata of a file. By default, the content type is that of the form. */
  readonly fields?: (
    request: Request,
    file: FormFile,
  ) => Omit<FileFields, 'size'> | Promise<Omit<FileFields, 'size'>>
}

/** The fields of an uploaded file that multer does not set itself. */
export interface StoredFile {
  readonly key: Key
  /** Bytes. */
  readonly size: number
  /** Strong entity tag of the content, with quotes. */
  readonly etag: string
  /** Lower-case hex. */
  readonly sha256?: string
}

/**
 * The storage engine: `multer({ storage: multerStorage(files, { key: … }) })`. When the request reaches
 * the route, its files are in the store, each with its key in `file.key`. A file that is too large, or
 * whose client goes away, is not stored. When multer gives up a request, its files are deleted again.
 */
export function multerStorage(
  files: Pick<Files, 'put' | 'delete'>,
  { key: keyOf, fields: fieldsOf }: MulterOptions,
): StorageEngine {
  async function store(request: Request, file: FormFile): Promise<StoredFile> {
    const { stream, mimetype } = file
    const abort = new AbortController()
    // A stream that is cut off at the limit ends like a complete one.
    stream.once('limit', () => abort.abort(new Error('the file is too large')))
    try {
      const [key, fields] = await Promise.all([keyOf(request, file), fieldsOf?.(request, file)])
      const { signal } = abort
      const put = await files.put(key, stream, { contentType: mimetype, ...fields, signal })
      const { size, etag, sha256 } = put
      return { key, size, etag, ...(sha256 !== undefined && { sha256 }) }
    } catch (err) {
      stream.resume() // so that multer gets to the rest of the form
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

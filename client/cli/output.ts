/** What a command prints: results on standard output, everything else on standard error. */
import type { FileEntry } from '../entries.ts'
import type { PutResult } from '../entries.ts'
import { OutputClosed } from './failure.ts'
import { escapeControls, formatTable, type Cell, type Column } from './text.ts'

export interface Output {
  /**
   * Writes to standard output; resolves when it is time to write more. Throws OutputClosed when nobody
   * reads the output any more, or the error of the system.
   */
  write(data: string | Uint8Array): Promise<void>
  /** Writes `value` as one line of JSON. */
  json(value: unknown): Promise<void>
  /** Writes lines, each with a line feed added; nothing when there are none. */
  lines(lines: readonly string[]): Promise<void>
  /** Writes a table. On a terminal, columns that may be shortened are, to fit its width. */
  table(columns: readonly Column[], rows: readonly (readonly Cell[])[]): Promise<void>
  /** Writes a line about one step of longer work. The work goes on even if nobody reads the output. */
  step(line: string): Promise<void>
  /** Writes a message for a person: one line on standard error, after the name of the command. */
  note(text: string): void
}

/** Creates the output of the command called `name`. */
export function createOutput(
  name: string,
  { stdout, stderr }: { readonly stdout: NodeJS.WriteStream; readonly stderr: NodeJS.WriteStream },
): Output {
  const write = (data: string | Uint8Array): Promise<void> =>
    new Promise((resolve, reject) => {
      stdout.write(data, (err?: (Error & { code?: string }) | null) => {
        if (!err) resolve()
        else if (err.code === 'EPIPE') reject(new OutputClosed(err.message))
        else reject(Object.assign(err, { path: 'standard output' }))
      })
    })
  return {
    write,
    json: value => write(`${JSON.stringify(value)}\n`),
    lines: async lines => {
      if (lines.length > 0) await write(lines.map(line => `${line}\n`).join(''))
    },
    table: (columns, rows) =>
      write(formatTable(columns, rows, stdout.isTTY ? stdout.columns || 80 : Infinity)),
    step: line =>
      write(`${line}\n`).catch((err: unknown) => {
        if (!(err instanceof OutputClosed)) throw err
      }),
    note: text => void stderr.write(`${name}: ${oneLine(text)}\n`),
  }
}

const oneLine = (text: string): string =>
  escapeControls(text.replaceAll(/\s*[\r\n]+\s*/g, ' ').trim())

/** A file in the JSON shape of the tracker's API; after a put, with the copies that were made. */
export function fileToJson(file: FileEntry & Partial<PutResult>): object {
  const { keyBytes } = file
  return {
    domain: file.domain,
    key: file.key,
    ...(keyBytes && { keyBytes: Buffer.from(keyBytes).toString('base64url') }),
    fid: file.fid,
    class: file.class,
    size: file.size,
    sha256: file.sha256,
    contentType: file.contentType,
    metadata: file.metadata,
    createdAt: file.createdAt,
    modifiedAt: file.modifiedAt,
    devids: file.devids,
    copies: file.copies,
    reduced: file.reduced,
  }
}

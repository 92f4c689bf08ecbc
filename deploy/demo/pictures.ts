/** What the photo application means by a picture, and how it names and shows one. */
import type { FileEntry } from '../../client/index.ts'

/** What may be uploaded. SVG is not among the types, since it may hold scripts. */
export const accepts = {
  types: ['image/jpeg', 'image/png', 'image/gif', 'image/webp', 'image/avif'],
  maxBytes: 100_000_000,
}

/** A picture as the pages get it. */
export interface Picture {
  key: string
  title: string
  size: number
  contentType: string | undefined
  uploadedAt: Date
}

/** True for the types the gallery takes; a media type's parameters do not matter. */
export function isPicture(contentType: string | undefined): boolean {
  return accepts.types.includes(mediaType(contentType))
}

/** A Content-Type without its parameters, in lower case; `''` for none. */
export function mediaType(contentType = ''): string {
  return (contentType.split(';', 1)[0] ?? '').trim().toLowerCase()
}

/** The name a picture was uploaded under: what follows the last `/` of its key. */
export function titleOf(key: string): string {
  return key.slice(key.lastIndexOf('/') + 1)
}

export function pictureOf({ key, size, contentType, createdAt }: FileEntry): Picture {
  return { key, title: titleOf(key), size, contentType, uploadedAt: createdAt }
}

/**
 * The Content-Disposition that shows a picture in the page and saves it under its title (RFC 6266:
 * an ASCII name for all, the true one in UTF-8 as RFC 8187 has it).
 */
export function inlineAs(key: string): string {
  const title = titleOf(key)
  const ascii = title.replace(/[^\w. -]/g, '_')
  const utf8 = encodeURIComponent(title).replace(
    /['()*]/g,
    c => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return `inline; filename="${ascii}"; filename*=UTF-8''${utf8}`
}

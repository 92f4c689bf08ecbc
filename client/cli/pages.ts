/** Listings of the tracker's API that come in pages. */

/** Entries in one page: the most that a tracker gives at once. */
export const pageSize = 1000

/**
 * All pages of a listing that have entries. `fetch` asks for the page that follows the entry `last`,
 * or for the first page when that is undefined. A page that is not full ends the listing.
 */
export async function* pagesOf<T>(
  fetch: (last: T | undefined) => Promise<readonly T[]>,
): AsyncGenerator<readonly T[]> {
  let last: T | undefined
  for (;;) {
    const page = await fetch(last)
    if (page.length > 0) yield page
    if (page.length < pageSize) return
    last = page.at(-1)
  }
}

/** What the pages ask of the application, and how they show what it says. */

/** Where a picture's bytes are; the reproxy answers this one. */
export const pictureUrl = key => `/pictures/${encodeURIComponent(key)}`

/** The page of one picture. */
export const viewUrl = key => `/view/${encodeURIComponent(key)}`

const apiUrl = key => `/api/pictures/${encodeURIComponent(key)}`

/** All pictures, newest first, with what may be uploaded: `{ pictures, accepts, reproxied }`. */
export const listPictures = () => ask('/api/pictures')

/** Deletes a picture; one that is gone already counts as deleted. */
export async function deletePicture(key) {
  await ask(apiUrl(key), { method: 'DELETE' }, [404])
}

/** Shows the bytes of pictures that the application has sent since it started. */
export async function showTraffic() {
  const { pictures } = await ask('/api/traffic')
  document.querySelector('#picture-bytes').value = pictures.bodyBytes.toLocaleString()
}

/**
 * Sends a file and resolves with the stored picture. XMLHttpRequest, since fetch does not tell how
 * far an upload is; `onProgress` gets the part sent, 0 to 1. `request.abort()` makes it fail.
 */
export function uploadPicture(request, file, onProgress) {
  return new Promise((resolve, reject) => {
    request.upload.onprogress = ({ loaded, total }) => onProgress(total > 0 ? loaded / total : 1)
    request.onload = () => {
      if (request.status === 201) resolve(JSON.parse(request.responseText))
      else reject(new Error(messageOf(request.status, request.responseText)))
    }
    request.onerror = () => reject(new Error(unreachable))
    request.onabort = () => reject(new Error('Cancelled.'))
    request.open('PUT', apiUrl(file.name))
    request.send(file)
  })
}

const unreachable = 'The connection was lost.'

async function ask(url, options, alsoFine = []) {
  const response = await fetch(url, options).catch(() => {
    throw new Error(unreachable)
  })
  const text = await response.text()
  if (!response.ok && !alsoFine.includes(response.status)) {
    throw new Error(messageOf(response.status, text))
  }
  return text === '' ? undefined : JSON.parse(text)
}

/** A sentence for people: the application's own words where it knows the reason. */
function messageOf(status, text) {
  if (status === 502 || status === 503 || status === 504)
    return 'The store is not available just now.'
  try {
    const { message } = JSON.parse(text)
    if (message) return `${message[0].toUpperCase()}${message.slice(1)}.`
  } catch {
    // Not ours: a proxy on the way answered.
  }
  return `This did not work (error ${status}).`
}

/** Bytes as people read them: `3.4 MB`. */
export function formatSize(size) {
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte']
  const step = Math.min(Math.floor(Math.log10(Math.max(size, 1)) / 3), units.length - 1)
  return new Intl.NumberFormat(undefined, {
    style: 'unit',
    unit: units[step],
    unitDisplay: step === 0 ? 'long' : 'short',
    maximumFractionDigits: step > 1 ? 1 : 0,
  }).format(size / 1000 ** step)
}

/** `image/jpeg` as `JPEG`. */
export const formatType = type =>
  type === 'image/webp' ? 'WebP' : type.replace(/^image\//, '').toUpperCase()

/** An ISO 8601 instant as the reader's place writes it. */
export const formatDate = (iso, style = { dateStyle: 'medium' }) =>
  new Intl.DateTimeFormat(undefined, style).format(new Date(iso))

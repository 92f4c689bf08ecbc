/** Uploads: a queue that sends three files at a time, and the tray that shows each one's progress. */
import { formatSize, formatType, uploadPicture } from './api.js'

const parallel = 3

/** Milliseconds that a stored file's row, and at the end the tray, stay to be noticed. */
const restMs = 3000

/**
 * Creates the uploads shown in `tray`. `onStored(picture)` is called for each file that was stored.
 * `add(files)` queues files; `accepts` (`{ types, maxBytes }`) is what is refused before sending.
 */
export function createUploads({ tray, template, onStored }) {
  const list = tray.querySelector('ul')
  const uploads = new Set()
  const self = { accepts: undefined, add }
  let stored = 0
  let hiding

  function add(files) {
    if (tray.hidden) stored = 0
    for (const file of files) {
      const upload = { file, row: rowOf(file), state: 'waiting', request: undefined }
      part(upload, '[data-action=retry]').addEventListener('click', () => retry(upload))
      part(upload, '[data-action=dismiss]').addEventListener('click', () => dismiss(upload))
      uploads.add(upload)
      list.append(upload.row)
      const refusal = refusalOf(file)
      if (refusal) fail(upload, 'refused', refusal)
      else show(upload, 'waiting', 'Waiting')
    }
    sendNext()
  }

  function sendNext() {
    const free = parallel - inState('sending').length
    for (const upload of inState('waiting').slice(0, free)) void send(upload)
    summarise()
  }

  async function send(upload) {
    upload.request = new XMLHttpRequest()
    show(upload, 'sending', 'Sending')
    try {
      const picture = await uploadPicture(upload.request, upload.file, sent => {
        part(upload, 'progress').value = sent
        // All is sent, but not yet on disk.
        show(upload, 'sending', sent < 1 ? `${Math.floor(sent * 100)} %` : 'Storing…')
      })
      stored += 1
      show(upload, 'stored', 'Stored')
      setTimeout(() => dismiss(upload), restMs)
      onStored(picture)
    } catch (err) {
      fail(upload, 'failed', err.message)
    }
    sendNext()
  }

  function refusalOf({ type, size }) {
    const { types, maxBytes } = self.accepts ?? {}
    if (types && !types.includes(type)) {
      return `Not one of ${types.map(formatType).join(', ')}.`
    }
    if (maxBytes && size > maxBytes) return `Too large: at most ${formatSize(maxBytes)}.`
    return size === 0 ? 'This file is empty.' : undefined
  }

  function retry(upload) {
    part(upload, 'progress').value = 0
    show(upload, 'waiting', 'Waiting')
    sendNext()
  }

  function dismiss(upload) {
    uploads.delete(upload)
    upload.row.remove()
    upload.request?.abort()
    sendNext()
  }

  /** What needs a person goes to the top. */
  function fail(upload, state, text) {
    show(upload, state, text)
    if (uploads.has(upload)) list.prepend(upload.row)
  }

  function show(upload, state, text) {
    upload.state = state
    upload.row.dataset.state = state
    part(upload, '.status').textContent = text
    part(upload, '[data-action=retry]').hidden = state !== 'failed'
    part(upload, '[data-action=dismiss]').hidden = state === 'stored'
  }

  function summarise() {
    const open = inState('waiting', 'sending').length
    const failed = inState('failed', 'refused').length
    const done = failed > 0 ? `${failed} not added` : `${pictures(stored)} added`
    tray.querySelector('h2').textContent = open > 0 ? `Adding ${pictures(open)}…` : done
    tray.querySelector('[data-action=close]').hidden = open > 0
    clearTimeout(hiding)
    if (uploads.size > 0) tray.hidden = false
    else hiding = setTimeout(close, stored > 0 ? restMs : 0)
  }

  function close() {
    uploads.clear()
    list.replaceChildren()
    tray.hidden = true
  }

  function rowOf(file) {
    const row = template.content.firstElementChild.cloneNode(true)
    row.querySelector('.title').textContent = file.name
    row.querySelector('progress').ariaLabel = file.name
    row.querySelector('[data-action=retry]').ariaLabel = `Retry ${file.name}`
    row.querySelector('[data-action=dismiss]').ariaLabel = `Remove ${file.name} from this list`
    return row
  }

  function inState(...states) {
    return [...uploads].filter(upload => states.includes(upload.state))
  }

  tray.querySelector('[data-action=close]').addEventListener('click', close)
  addEventListener('beforeunload', event => {
    if (inState('waiting', 'sending').length > 0) event.preventDefault()
  })
  return self
}

const part = (upload, selector) => upload.row.querySelector(selector)
const pictures = count => (count === 1 ? '1 picture' : `${count} pictures`)

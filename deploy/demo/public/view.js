/** The page of one picture: its facts, its neighbours, and deleting it. */
import { deletePicture, formatDate, formatSize, formatType, listPictures } from './api.js'
import { pictureUrl, showTraffic, viewUrl } from './api.js'

const $ = selector => document.querySelector(selector)
const key = decodeURIComponent(location.pathname.slice('/view/'.length))

// Asked for before anything else is known: the picture is what this page waits for.
const image = $('#image')
image.addEventListener('load', () => image.classList.add('shown'))
image.addEventListener('error', () => $('.stage').classList.add('broken'))
image.src = pictureUrl(key)

function fail(message) {
  $('#picture').hidden = true
  $('#failure').hidden = false
  $('#failure p').textContent = message
}

function show({ title, size, contentType, uploadedAt }) {
  document.title = title
  image.alt = title
  $('#title').textContent = title
  const when = formatDate(uploadedAt, { dateStyle: 'long', timeStyle: 'short' })
  $('#facts').textContent = `${when} · ${formatSize(size)} · ${formatType(contentType)}`
  $('#download').href = pictureUrl(key)
  $('#download').download = title
}

function link(anchor, picture) {
  if (!picture) return
  anchor.href = viewUrl(picture.key)
  anchor.ariaDisabled = null
}

async function load() {
  const { pictures } = await listPictures()
  const at = pictures.findIndex(picture => picture.key === key)
  if (at < 0) return fail('There is no such picture; it may have been deleted.')
  show(pictures[at])
  link($('#previous'), pictures[at - 1])
  link($('#next'), pictures[at + 1])
}

const dialog = $('#confirm')
$('[data-action=delete]').addEventListener('click', () => {
  $('#confirm-error').textContent = ''
  dialog.showModal()
})
$('[data-action=cancel]').addEventListener('click', () => dialog.close())
$('[data-action=confirm]').addEventListener('click', async ({ target }) => {
  target.disabled = true
  try {
    await deletePicture(key)
    location.replace('/')
  } catch (err) {
    $('#confirm-error').textContent = err.message
    target.disabled = false
  }
})

addEventListener('keydown', event => {
  if (dialog.open || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return
  if (event.key === 'ArrowLeft') $('#previous').click()
  if (event.key === 'ArrowRight') $('#next').click()
  if (event.key === 'Escape') location.assign('/')
})

await load().catch(err => fail(err.message))
await showTraffic().catch(() => {})

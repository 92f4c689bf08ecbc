/** The gallery page: the grid of pictures, and the ways by which files get to the uploads. */
import { formatDate, formatSize, formatType, listPictures, pictureUrl } from './api.js'
import { showTraffic, viewUrl } from './api.js'
import { createUploads } from './uploads.js'

const $ = selector => document.querySelector(selector)
const gallery = $('#gallery')
const uploads = createUploads({
  tray: $('#uploads'),
  template: $('#upload-template'),
  onStored(picture) {
    gallery.prepend(tileOf(picture))
    showCount()
    showTraffic().catch(() => {})
  },
})

async function load() {
  $('#failure').hidden = true
  try {
    const { pictures, accepts, reproxied } = await listPictures()
    uploads.accepts = accepts
    const types = new Intl.ListFormat('en').format(accepts.types.map(formatType))
    $('#accepted').textContent = `${types}, up to ${formatSize(accepts.maxBytes)} each.`
    $('#unproxied').hidden = reproxied
    gallery.replaceChildren(...pictures.map(tileOf))
    showCount()
    await showTraffic()
  } catch (err) {
    $('#failure').hidden = false
    $('#failure p').textContent = err.message
  }
}

function tileOf({ key, title, size, uploadedAt }) {
  const tile = $('#picture-template').content.firstElementChild.cloneNode(true)
  const [image, name, facts] = ['img', '.title', '.muted'].map(part => tile.querySelector(part))
  tile.dataset.key = key
  tile.querySelector('a').href = viewUrl(key)
  image.alt = title
  image.src = pictureUrl(key)
  image.addEventListener('load', () => tile.classList.add('shown'))
  image.addEventListener('error', () => tile.classList.add('broken'))
  name.textContent = title
  name.title = title
  facts.textContent = `${formatDate(uploadedAt)} · ${formatSize(size)}`
  return tile
}

function showCount() {
  const count = gallery.childElementCount
  $('#empty').hidden = count > 0
  $('#count').textContent = count > 0 ? count.toLocaleString() : ''
}

const carriesFiles = event => event.dataTransfer?.types.includes('Files')
const showDrop = on => document.body.classList.toggle('dropping', on)

addEventListener('dragover', event => {
  if (!carriesFiles(event)) return
  event.preventDefault()
  event.dataTransfer.dropEffect = 'copy'
  showDrop(true)
})
addEventListener('dragleave', event => {
  // Moving between elements also fires this; only leaving the window has nothing to go to.
  if (!event.relatedTarget) showDrop(false)
})
addEventListener('drop', event => {
  showDrop(false)
  if (!carriesFiles(event)) return
  event.preventDefault()
  uploads.add(event.dataTransfer.files)
})
$('#files').addEventListener('change', ({ target }) => {
  uploads.add(target.files)
  target.value = '' // so that choosing the same file again is a change
})
$('#failure button').addEventListener('click', load)

await load()

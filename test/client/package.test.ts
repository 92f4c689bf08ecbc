import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'

const run = promisify(execFile)
const cwd = fileURLToPath(new URL('../../../', import.meta.url))

const program = `
  const { createClient, isCoded } = require('omgfiles/client')
  const { serveFiles } = require('omgfiles/adapters/express')
  const client = createClient({ trackers: ['http://127.0.0.1:1'], domain: 'd', budgetMs: 100 })
  client.stat('k').catch(err => console.log(isCoded(err, 'tracker_unreachable'), typeof serveFiles))
`

void t.test('CommonJS takes the SDK by require, without a flag or a warning', async t => {
  const args = ['--input-type=commonjs', '-e', program]
  const { stdout, stderr } = await run(process.execPath, args, { cwd })
  t.equal(stdout, 'true function\n')
  t.equal(stderr, '')
})

void t.test('every public part of the SDK can be imported by its name', async t => {
  const names: Record<string, string[]> = {
    client: ['CodedError', 'answerFile', 'createClient', 'createTrackerApi', 'isCoded'],
    browser: ['UploadError', 'upload'],
    'adapters/express': ['serveFiles'],
    'adapters/fastify': ['serveFiles'],
    'adapters/flydrive': ['OmgfilesDriver'],
    'adapters/multer': ['multerStorage'],
    'adapters/unstorage': ['unstorageDriver'],
  }
  for (const [part, wanted] of Object.entries(names)) {
    const found = (await import(`omgfiles/${part}`)) as object
    t.same(Object.keys(found).sort(), wanted, part)
  }
})

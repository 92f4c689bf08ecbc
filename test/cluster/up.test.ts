import { execFile } from 'node:child_process'
import { chmod, chown, readdir, readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import t from 'tap'
import { directory } from '../helpers/directory.ts'
import { omg, startUp, untilGone } from '../helpers/up.ts'

t.setTimeout(600_000)

const run = promisify(execFile)

/** Processes that have `dir` in their command line or work below it. */
async function processesOf(dir: string): Promise<number[]> {
  const found: number[] = []
  for (const name of await readdir('/proc')) {
    const pid = Number(name)
    if (!pid || pid === process.pid) continue
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    if (command.includes(dir)) found.push(pid)
  }
  return found
}

for (const separate of [false, true]) {
  const how = separate ? 'in processes of their own' : 'in one process'
  t.test(`the daemons, ${how}, end with Ctrl-C and bring every file back`, async t => {
    const data = await directory(t)
    const args = separate ? ['--separate'] : []
    const first = await startUp(t, { data, args })
    t.equal(first.ready.storage.length, 3)
    t.equal((await first.client.api.listDevices()).length, 6)
    await first.client.put('kept/1', 'still here', { contentType: 'text/plain' })
    t.equal(await first.stop(), 0, 'ends with status 0')
    for (const pid of Object.values(first.ready.pids)) await untilGone(pid)
    t.same(await processesOf(data), [], 'leaves no process')

    const second = await startUp(t, { data, args })
    const file = await second.client.get('kept/1')
    t.equal(await file.text(), 'still here')
    t.equal(file.contentType, 'text/plain')
    t.equal(second.ready.token, first.ready.token, 'the token stays')
    t.equal(await second.stop('SIGHUP'), 0, 'a closed terminal ends it as well')
    for (const pid of Object.values(second.ready.pids)) await untilGone(pid)
  })
}

t.test('a second start on a directory in use is refused and disturbs nothing', async t => {
  const data = await directory(t)
  const { client } = await startUp(t, { data })
  const refused = await run(process.execPath, [
    omg,
    'up',
    '--json',
    '--port-base',
    '0',
    '--data',
    data,
  ]).catch((err: { code: number; stderr: string }) => err)
  t.match(refused, { code: 2, stderr: /in use by process/ })
  await client.put('a', 'b')
  t.equal(await (await client.get('a')).text(), 'b')
})

t.test('what a killed omg up left behind is taken over by the next one', async t => {
  const data = await directory(t)
  const first = await startUp(t, { data, args: ['--separate'] })
  await first.client.put('before', 'the kill')
  first.process.kill('SIGKILL')
  for (const [name, pid] of Object.entries(first.ready.pids)) {
    // The daemons see their parent go; Postgres is ended by the next start.
    if (name !== 'postgres') await untilGone(pid)
  }
  const second = await startUp(t, { data, args: ['--separate'] })
  t.equal(await (await second.client.get('before')).text(), 'the kill')
})

const root = process.getuid?.() === 0
t.test(
  'an ordinary user can run it',
  { skip: root ? false : 'this test run is by an ordinary user already' },
  async t => {
    const uid = 65534
    const data = await directory(t)
    await chmod(data, 0o755)
    await chown(data, uid, uid)
    const readable = await run(
      process.execPath,
      ['-e', `import(${JSON.stringify(omg)})`, '--help'],
      {
        uid,
        gid: uid,
        cwd: '/',
      },
    ).then(
      () => true,
      () => false,
    )
    if (!readable) {
      t.plan(0, 'the checkout cannot be read by others')
      return
    }
    const system = await startUp(t, { data, uid })
    const { client } = system
    await client.put('mine', 'too')
    t.equal(await (await client.get('mine')).text(), 'too')
    t.equal(await system.stop(), 0)
  },
)

t.test('a port that is taken is named, and nothing stays behind', async t => {
  const data = await directory(t)
  const { ready } = await startUp(t, { data: await directory(t) })
  const base = Number(new URL(ready.http).port) - 2
  const refused = await run(process.execPath, [
    omg,
    'up',
    '--json',
    '--port-base',
    String(base),
    '--data',
    data,
  ]).catch((err: { code: number; stderr: string }) => err)
  t.match(refused, { code: 2, stderr: /taken; choose another base/ })
  t.same(await processesOf(data), [])
})

/** `omg login` and `omg profile`: trackers and tokens that need not be given again. */
import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import type { Command } from 'commander'
import { addConnectionOptions, withJson, type Cli } from './command.ts'
import { parseToken, type ConnectionOptions } from './connection.ts'
import { CommandFailure, UsageError } from './failure.ts'
import { isProfileName, readProfiles, writeProfiles } from './profile.ts'
import { readSecret } from './prompt.ts'
import type { Session } from './session.ts'

/** Adds the commands. */
export function addLogin(program: Command, cli: Cli): void {
  const login = withJson(
    addConnectionOptions(
      program
        .command('login')
        .description('save trackers and token as a profile, once they have been tried'),
    ),
    '{ profile, trackers, path }',
  ).argument('[PROFILE]', 'its name', 'default')
  login.action((name: string, options: ConnectionOptions) => {
    const { host } = cli
    // The profile is what is being made: it must not be looked for.
    const { profile: _, ...rest } = options
    return cli.run(login, { ...rest, trackers: trackersOf(options, host.env) }, session =>
      logIn(name, options, session),
    )
  })

  const group = program.command('profile').alias('profiles').description('what was logged in to')
  const { env } = cli.host

  const list = withJson(
    group.command('list').alias('ls').description('show them; * is the one that is used'),
    'an array of { name, trackers, current }',
  ).option('--json', 'print JSON')
  list.action(async ({ json }: { readonly json?: boolean }) => {
    const out = cli.output(list)
    const { current, profiles } = await readProfiles(env)
    const rows = Object.entries(profiles).map(([name, { trackers }]) => ({
      name,
      trackers,
      current: name === current,
    }))
    if (json) return out.json(rows)
    await out.table(
      [{ title: '' }, { title: 'PROFILE' }, { title: 'TRACKERS', shrink: true }],
      rows.map(row => [row.current ? '*' : '', row.name, row.trackers.join(',')]),
    )
  })

  const use = withJson(
    group.command('use').description('use it from now on').argument('<PROFILE>'),
    '{ profile }',
  ).option('--json', 'print JSON')
  use.action(async (name: string, { json }: { readonly json?: boolean }) => {
    const out = cli.output(use)
    const saved = await readProfiles(env)
    mustHave(saved.profiles, name)
    await writeProfiles(env, { ...saved, current: name })
    if (json) await out.json({ profile: name })
    else await out.write(`${name}  in use\n`)
  })

  const remove = withJson(
    group
      .command('delete')
      .alias('rm')
      .description('forget it and its token, which goes on working')
      .argument('<PROFILE>'),
    '{ profile }',
  ).option('--json', 'print JSON')
  remove.action(async (name: string, { json }: { readonly json?: boolean }) => {
    const out = cli.output(remove)
    const { current, profiles } = await readProfiles(env)
    mustHave(profiles, name)
    const { [name]: _, ...others } = profiles
    await writeProfiles(env, {
      ...(current !== undefined && current !== name && { current }),
      profiles: others,
    })
    if (json) await out.json({ profile: name })
    else await out.write(`${name}  deleted\n`)
  })
}

function mustHave(profiles: object, name: string): void {
  if (Object.hasOwn(profiles, name)) return
  throw new CommandFailure(`no profile ${JSON.stringify(name)} (omg profile list shows them)`)
}

function trackersOf({ trackers }: ConnectionOptions, env: NodeJS.ProcessEnv): string {
  const text = trackers ?? env['OMG_TRACKERS']
  if (!text) throw new UsageError('--trackers says which trackers to log in to')
  return text
}

async function logIn(
  name: string,
  options: ConnectionOptions,
  { host, askOne, signal, out, json, trackers }: Session,
): Promise<void> {
  if (!isProfileName(name)) {
    throw new UsageError('a profile is named with letters, digits, ".", "-" and "_"')
  }
  const token = await readToken(options, { host, signal })
  for (const tracker of trackers) {
    await askOne(tracker, api => api.targets({ signal }), token) // any token that works may ask this
  }
  const { profiles } = await readProfiles(host.env)
  const path = await writeProfiles(host.env, {
    current: name,
    profiles: { ...profiles, [name]: { trackers, token } },
  })
  if (json) await out.json({ profile: name, trackers, path })
  else await out.write(`${name}  saved in ${path}\n`)
}

/** From `--token-file`, `OMG_TOKEN`, the person at the terminal, or standard input. */
async function readToken(
  { tokenFile }: ConnectionOptions,
  { host, signal }: Pick<Session, 'host' | 'signal'>,
): Promise<string> {
  if (tokenFile !== undefined) return parseToken(await readFile(tokenFile, 'utf8'), tokenFile)
  const { stdin, stderr, env } = host
  if (env['OMG_TOKEN']) return parseToken(env['OMG_TOKEN'], 'OMG_TOKEN')
  const given =
    stdin.isTTY && stderr.isTTY ? await readSecret('Token: ', { host, signal }) : await text(stdin)
  return parseToken(given, 'standard input')
}

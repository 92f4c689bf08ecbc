/** `omg login` and `omg profile`: trackers and tokens that are saved for later commands. */
import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import type { Command } from 'commander'
import { addConnectionOptions, withJson, type Cli } from './command.ts'
import { parseToken, type ConnectionOptions } from './connection.ts'
import { UsageError } from './failure.ts'
import { getProfile, isProfileName, readProfiles, writeProfiles } from './profile.ts'
import { readSecret } from './prompt.ts'
import type { Session } from './session.ts'

interface ProfileOptions {
  readonly json?: boolean
}

/** Adds the commands. */
export function addLogin(program: Command, cli: Cli): void {
  const login = withJson(
    addConnectionOptions(
      program
        .command('login')
        .description('save trackers and token as a profile, after checking that they work'),
    ),
    '{ profile, trackers, path }',
  ).argument('[PROFILE]', 'name of the profile', 'default')
  login.action((name: string, options: ConnectionOptions) => {
    // The profile is about to be made, so it must not be looked up.
    const { profile: _, ...rest } = options
    const trackers = trackersOf(options, cli.host.env)
    return cli.run(login, { ...rest, trackers }, session => logIn(name, options, session))
  })

  const group = program.command('profile').alias('profiles').description('manage saved logins')
  addList(group, cli)
  addUse(group, cli)
  addDelete(group, cli)
}

function addList(group: Command, cli: Cli): void {
  const command = withJson(
    group.command('list').alias('ls').description('list the profiles; * marks the one in use'),
    'an array of { name, trackers, current }',
  ).option('--json', 'print JSON')
  command.action(async ({ json }: ProfileOptions) => {
    const out = cli.output(command)
    const { current, profiles } = await readProfiles(cli.host.env)
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
}

function addUse(group: Command, cli: Cli): void {
  const command = withJson(
    group.command('use').description('use this profile from now on').argument('<PROFILE>'),
    '{ profile }',
  ).option('--json', 'print JSON')
  command.action(async (name: string, { json }: ProfileOptions) => {
    const { env } = cli.host
    const out = cli.output(command)
    const saved = await readProfiles(env)
    getProfile(saved, name)
    await writeProfiles(env, { ...saved, current: name })
    if (json) await out.json({ profile: name })
    else await out.write(`${name}  in use\n`)
  })
}

function addDelete(group: Command, cli: Cli): void {
  const command = withJson(
    group
      .command('delete')
      .alias('rm')
      .description('forget a profile with its token; the token itself stays valid')
      .argument('<PROFILE>'),
    '{ profile }',
  ).option('--json', 'print JSON')
  command.action(async (name: string, { json }: ProfileOptions) => {
    const { env } = cli.host
    const out = cli.output(command)
    const saved = await readProfiles(env)
    getProfile(saved, name)
    const { current, profiles } = saved
    const { [name]: _, ...others } = profiles
    await writeProfiles(env, {
      ...(current !== undefined && current !== name && { current }),
      profiles: others,
    })
    if (json) await out.json({ profile: name })
    else await out.write(`${name}  deleted\n`)
  })
}

function trackersOf({ trackers }: ConnectionOptions, env: NodeJS.ProcessEnv): string {
  const urls = trackers ?? env['OMG_TRACKERS']
  if (!urls) throw new UsageError('name the trackers to log in to with --trackers')
  return urls
}

async function logIn(
  name: string,
  options: ConnectionOptions,
  { host, askOne, signal, out, json, trackers }: Session,
): Promise<void> {
  if (!isProfileName(name)) {
    throw new UsageError('the name of a profile has only letters, digits, ".", "-" and "_"')
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

/** What admin tokens are for: domains, classes, hosts, devices, settings, tokens, and all upkeep. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import {
  ChangeClass,
  ChangeDevice,
  ChangeDomain,
  ChangeHost,
  ClassInfo,
  CreatedToken,
  DeviceInfo,
  DomainInfo,
  HostInfo,
  HostKey,
  NewClass,
  NewDevice,
  NewDomain,
  NewHost,
  NewToken,
  SettingValue,
  Settings,
  TokenInfo,
} from '../../common/protocol/configuration.ts'
import { ErrorReply, Name } from '../../common/protocol/fields.ts'
import type { Context } from '../cluster/context.ts'
import {
  changeClass,
  changeDomain,
  createClass,
  createDomain,
  deleteClass,
  deleteDomain,
  getConfiguredDomain,
  listDomains,
} from '../commands/domains.ts'
import {
  changeDevice,
  changeHost,
  createDevice,
  createHost,
  deleteHost,
  getHostSecret,
  listHosts,
} from '../commands/hosts.ts'
import { listSettings, setSetting, unsetSetting } from '../commands/settings.ts'
import { createToken, deleteToken, listTokens } from '../commands/tokens.ts'
import { callerOf, requireAccess } from './auth.ts'
import { careRoutes } from './care.ts'
import { debugRoutes } from './debug.ts'
import { queueRoutes } from './queues.ts'
import { fsckRoutes } from './fsck.ts'
import { classToJson, deviceToJson, domainToJson, hostToJson, tokenToJson } from './json.ts'
import { rebalanceRoutes } from './rebalance.ts'
import { rehearsalRoutes } from './rehearsals.ts'

const errors = { '4xx': ErrorReply, '5xx': ErrorReply }
const done = { 204: Type.Null(), ...errors }
const DomainParams = Type.Object({ domain: Type.String() })
const ClassParams = Type.Object({ domain: Type.String(), class: Type.String() })
const HostParams = Type.Object({ host: Name })
const DeviceParams = Type.Object({ devid: Type.Integer() })
const SettingParams = Type.Object({ name: Type.String() })
const TokenParams = Type.Object({ id: Type.Integer({ minimum: 1, maximum: 2147483647 }) })

interface Options {
  readonly ctx: Context
}

export const configurationRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { ctx }) => {
  app.addHook('onRequest', requireAccess(ctx, 'admin'))
  await app.register(domainRoutes, { ctx })
  await app.register(hostRoutes, { ctx })
  await app.register(settingRoutes, { ctx })
  await app.register(tokenRoutes, { ctx })
  await app.register(fsckRoutes, { ctx })
  await app.register(rebalanceRoutes, { ctx })
  await app.register(debugRoutes, { ctx })
  await app.register(queueRoutes, { ctx })
  await app.register(careRoutes, { ctx })
  await app.register(rehearsalRoutes, { ctx })
}

const domainRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { ctx }) => {
  const tags = ['domains']
  app.get(
    '/domains',
    { schema: { tags, response: { 200: Type.Array(DomainInfo), ...errors } } },
    () => listDomains(ctx).map(domainToJson),
  )
  app.post(
    '/domains',
    { schema: { tags, body: NewDomain, response: { 201: DomainInfo, ...errors } } },
    async (request, reply) => {
      const domain = await createDomain(ctx, request.body.name, callerOf(request))
      return reply.code(201).send(domainToJson(domain))
    },
  )
  app.patch(
    '/domains/:domain',
    {
      schema: {
        tags,
        params: DomainParams,
        body: ChangeDomain,
        response: { 200: DomainInfo, ...errors },
      },
    },
    async request => {
      const args = { name: request.params.domain, ...request.body }
      return domainToJson(await changeDomain(ctx, args, callerOf(request)))
    },
  )
  app.delete(
    '/domains/:domain',
    { schema: { tags, params: DomainParams, response: done } },
    async (request, reply) => {
      await deleteDomain(ctx, request.params.domain, callerOf(request))
      return reply.code(204).send(null)
    },
  )
  app.get(
    '/domains/:domain/classes',
    {
      schema: { tags, params: DomainParams, response: { 200: Type.Array(ClassInfo), ...errors } },
    },
    async request => {
      const { classes } = await getConfiguredDomain(ctx, request.params.domain)
      return [...classes.values()].map(classToJson)
    },
  )
  app.post(
    '/domains/:domain/classes',
    {
      schema: {
        tags,
        params: DomainParams,
        body: NewClass,
        response: { 201: ClassInfo, ...errors },
      },
    },
    async (request, reply) => {
      const args = { domain: request.params.domain, ...request.body }
      return reply.code(201).send(classToJson(await createClass(ctx, args, callerOf(request))))
    },
  )
  app.patch(
    '/domains/:domain/classes/:class',
    {
      schema: {
        tags,
        params: ClassParams,
        body: ChangeClass,
        response: { 200: ClassInfo, ...errors },
      },
    },
    async request => {
      const { domain, class: name } = request.params
      const args = { domain, name, ...request.body }
      return classToJson(await changeClass(ctx, args, callerOf(request)))
    },
  )
  app.delete(
    '/domains/:domain/classes/:class',
    { schema: { tags, params: ClassParams, response: done } },
    async (request, reply) => {
      const { domain, class: name } = request.params
      await deleteClass(ctx, { domain, name }, callerOf(request))
      return reply.code(204).send(null)
    },
  )
}

const hostRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { ctx }) => {
  const tags = ['hosts']
  app.get('/hosts', { schema: { tags, response: { 200: Type.Array(HostInfo), ...errors } } }, () =>
    listHosts(ctx).map(host => hostToJson(ctx, host)),
  )
  app.post(
    '/hosts',
    { schema: { tags, body: NewHost, response: { 201: HostInfo, ...errors } } },
    async (request, reply) => {
      const host = await createHost(ctx, request.body, callerOf(request))
      return reply.code(201).send(hostToJson(ctx, host))
    },
  )
  app.patch(
    '/hosts/:host',
    {
      schema: {
        tags,
        params: HostParams,
        body: ChangeHost,
        response: { 200: HostInfo, ...errors },
      },
    },
    async request => {
      const args = { name: request.params.host, ...request.body }
      return hostToJson(ctx, await changeHost(ctx, args, callerOf(request)))
    },
  )
  app.delete(
    '/hosts/:host',
    { schema: { tags, params: HostParams, response: done } },
    async (request, reply) => {
      await deleteHost(ctx, request.params.host, callerOf(request))
      return reply.code(204).send(null)
    },
  )
  app.get(
    '/hosts/:host/key',
    {
      schema: {
        tags,
        summary: "The secret of a host's storage node, also before the host exists",
        params: HostParams,
        response: { 200: HostKey, ...errors },
      },
    },
    async (request, reply) => {
      const { host } = request.params
      reply.header('cache-control', 'no-store')
      return { host, secret: await getHostSecret(ctx, host, callerOf(request)) }
    },
  )
  app.get(
    '/devices',
    { schema: { tags, response: { 200: Type.Array(DeviceInfo), ...errors } } },
    () => ctx.cluster.devices().map(deviceToJson),
  )
  app.post(
    '/devices',
    { schema: { tags, body: NewDevice, response: { 201: DeviceInfo, ...errors } } },
    async (request, reply) => {
      const device = await createDevice(ctx, request.body, callerOf(request))
      return reply.code(201).send(deviceToJson(device))
    },
  )
  app.patch(
    '/devices/:devid',
    {
      schema: {
        tags,
        params: DeviceParams,
        body: ChangeDevice,
        response: { 200: DeviceInfo, ...errors },
      },
    },
    async request => {
      const args = { devid: request.params.devid, ...request.body }
      return deviceToJson(await changeDevice(ctx, args, callerOf(request)))
    },
  )
}

const settingRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { ctx }) => {
  const tags = ['settings']
  app.get('/settings', { schema: { tags, response: { 200: Settings, ...errors } } }, () =>
    Object.fromEntries(listSettings(ctx)),
  )
  app.put(
    '/settings/:name',
    { schema: { tags, params: SettingParams, body: SettingValue, response: done } },
    async (request, reply) => {
      await setSetting(ctx, { ...request.params, ...request.body }, callerOf(request))
      return reply.code(204).send(null)
    },
  )
  app.delete(
    '/settings/:name',
    { schema: { tags, params: SettingParams, response: done } },
    async (request, reply) => {
      await unsetSetting(ctx, request.params.name, callerOf(request))
      return reply.code(204).send(null)
    },
  )
}

const tokenRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { ctx }) => {
  const tags = ['tokens']
  app.get(
    '/tokens',
    { schema: { tags, response: { 200: Type.Array(TokenInfo), ...errors } } },
    async () => (await listTokens(ctx)).map(row => tokenToJson(ctx, row)),
  )
  app.post(
    '/tokens',
    { schema: { tags, body: NewToken, response: { 201: CreatedToken, ...errors } } },
    async (request, reply) => {
      const { row, text } = await createToken(ctx, request.body, callerOf(request))
      reply.header('cache-control', 'no-store')
      return reply.code(201).send({ ...tokenToJson(ctx, row), token: text })
    },
  )
  app.delete(
    '/tokens/:id',
    { schema: { tags, params: TokenParams, response: done } },
    async (request, reply) => {
      await deleteToken(ctx, request.params.id, callerOf(request))
      return reply.code(204).send(null)
    },
  )
}

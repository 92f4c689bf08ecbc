/**
 * The storage node: keeps the bytes. It owns the directories `dev<N>` below its root and the plain
 * files in them, and serves them over HTTP. It promises that a PUT it answered with 201 is on disk,
 * whole and under its name, and that nobody ever reads a part of a file as the whole; it knows
 * nothing of keys, classes or other nodes.
 *
 * `disk/` makes file calls that may hang, `writing/` gets bytes onto a disk whole, `device/` is one
 * device with all that can go wrong with it, `digests/` reads files for their digests. `http/` answers
 * requests by fastify, `lane/` the plain ones without it, and `pull/` fetches copies from other nodes.
 * `side-channel/` is the line protocol beside HTTP, `processes/` runs several workers.
 */
import cluster from 'node:cluster'
import type { Daemon } from '../common/daemon.ts'
import type { Address } from '../common/config.ts'
import type { Logger } from '../common/log.ts'
import { checkConfig, type StorageNodeConfig } from './config.ts'
import { createServingNode } from './node.ts'
import { createSupervisor } from './processes/supervisor.ts'

export { StorageNodeConfig } from './config.ts'

export interface StorageNode extends Daemon {
  /** Where it serves; throws before `start`. */
  readonly address: Address
}

/**
 * Creates a storage node; with several workers, one that runs them as processes of the same command
 * line. Throws ConfigError when the settings do not go together.
 */
export function createStorageNode(config: StorageNodeConfig, log: Logger): StorageNode {
  checkConfig(config)
  if ((config.workers ?? 1) === 1) return createServingNode(config, log)
  if (cluster.isWorker) return createServingNode(config, log, { among: true })
  return createSupervisor(config, log)
}

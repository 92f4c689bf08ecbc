/** The shapes that commands print with `--json`, under the names that their help uses. */
import {
  ClassInfo,
  CreatedToken,
  DeviceInfo,
  DomainInfo,
  HostInfo,
  HostKey,
  Settings,
  TokenInfo,
} from '../../common/protocol/configuration.ts'
import { Committed, FileInfo, Located } from '../../common/protocol/files.ts'
import { Consequences } from '../../common/protocol/rehearsal.ts'
import { ClusterStatus } from '../../common/protocol/status.ts'
import {
  FileTraces,
  FsckLog,
  FsckStatus,
  RebalanceStatus,
  RebalanceTest,
  AuditTrail,
  DamageList,
  DrainList,
  Purged,
  QueueList,
  Replicated,
  ScrubInfo,
  StuckList,
  SweepList,
  TrashList,
} from '../../common/protocol/upkeep.ts'
import { schemaText } from './schema-text.ts'

/** The schemas, in the order of the reference. */
export const jsonShapes = {
  FileInfo,
  Committed,
  Located,
  ClusterStatus,
  HostInfo,
  DeviceInfo,
  DomainInfo,
  ClassInfo,
  Settings,
  HostKey,
  TokenInfo,
  CreatedToken,
  FsckStatus,
  FsckLog,
  RebalanceStatus,
  RebalanceTest,
  FileTraces,
  QueueList,
  StuckList,
  Replicated,
  DrainList,
  ScrubInfo,
  DamageList,
  SweepList,
  TrashList,
  Purged,
  AuditTrail,
  Consequences,
}

/** Each shape as text, by its name. */
export const schemas = (): ReadonlyMap<string, string> =>
  new Map(Object.entries(jsonShapes).map(([name, schema]) => [name, schemaText(schema)]))

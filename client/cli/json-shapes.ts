/** The shapes of what commands print with `--json`, by the names that their help gives them. */
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

/** The schemas, in the order in which they are told. */
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

/** Each of them as text. */
export const schemas = (): ReadonlyMap<string, string> =>
  new Map(Object.entries(jsonShapes).map(([name, schema]) => [name, schemaText(schema)]))

/** The metrics of a node that is several processes: whichever of them is asked tells those of all. */
import { AggregatorRegistry } from 'prom-client'
import type { Talk } from './talk.ts'

/** Adds up what processes have counted; what one does not tell is missing. */
export async function addMetrics(processes: Iterable<Talk>): Promise<string> {
  const told = await Promise.all([...processes].map(each => each.ask('own metrics')))
  const counted = told.filter(each => Array.isArray(each))
  return AggregatorRegistry.aggregate(counted as object[]).metrics()
}

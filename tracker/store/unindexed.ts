/**
 * A condition that a row has to meet which is found by its key: no index can serve it in this form.
 * Work that is due and open uploads come and go faster than statistics follow; without them a planner
 * takes all that is due for a handful of rows, and reads it for every one that is looked for.
 */
export const unindexed = (condition: string): string => `(${condition}) is true`

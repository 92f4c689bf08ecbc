#!/usr/bin/env node
/** The command `omg`. */
import { runCommandLine } from './program.ts'

const status = await runCommandLine(process.argv.slice(2), process)
// A daemon keeps running after this. It sets the status itself when its settings cannot be used.
if (status !== 0) process.exitCode = status

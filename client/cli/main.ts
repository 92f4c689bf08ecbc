#!/usr/bin/env node
/** The command `omg`. */
import { runCommandLine } from './program.ts'

const status = await runCommandLine(process.argv.slice(2), process)
// A daemon goes on after this, and sets its own status when its settings cannot be used.
if (status !== 0) process.exitCode = status

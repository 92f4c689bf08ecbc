/** The browser SDK as a page loads it. */
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/** One minified ES module. Fails when it needs anything that browsers have not. */
export async function bundleBrowserSdk(): Promise<Uint8Array> {
  const entry = fileURLToPath(new URL('../../../client/browser/index.js', import.meta.url))
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    logLevel: 'silent',
  })
  return outputFiles[0]!.contents
}

import { gzipSync } from 'node:zlib'
import t from 'tap'
import { bundleBrowserSdk } from './bundle.ts'

void t.test('the browser SDK is small and needs nothing but a browser', async t => {
  const bundle = await bundleBrowserSdk()
  const size = gzipSync(bundle, { level: 9 }).length
  t.ok(size < 12_000, `${size} bytes, compressed`)
  t.notMatch(Buffer.from(bundle).toString(), /\b(?:Buffer|process|require)\b|node:/)
})

import { readFile } from 'node:fs/promises'
import { transform } from 'esbuild'
import t from 'tap'

const documents = [
  'README.md',
  'docs/sdk.md',
  'docs/guides/frameworks.md',
  'docs/guides/from-local-disk.md',
]
const root = new URL('../../../', import.meta.url)

for (const document of documents) {
  void t.test(`the code in ${document} can be read, and imports what there is`, async t => {
    const text = await readFile(new URL(document, root), 'utf8')
    const examples = [...text.matchAll(/```js\n(.*?)```/gs)].map(([, code = '']) => code)
    t.ok(examples.length > 0)
    for (const code of examples) {
      await transform(code, { format: 'esm', logLevel: 'silent' })
      for (const [, names = '', part = ''] of code.matchAll(
        /import \{ ([^}]*) \} from '(omgfiles\/[^']*)'/g,
      )) {
        const found = (await import(part)) as object
        for (const name of names.split(', ')) t.ok(name in found, `${name} of ${part}`)
      }
    }
  })
}

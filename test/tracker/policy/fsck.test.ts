import t from 'tap'
import { judgeDigests, type DigestCase } from '../../../tracker/policy/fsck.ts'

/** `md5 1=a 2=b stored=md5:a wanted named` → what is to be done. */
function verdict(text: string): string {
  const words = text.split(' ')
  const algorithm = words[0] as DigestCase['algorithm']
  const found = words.flatMap(word => {
    const match = /^(\d+)=(\w+)$/.exec(word)
    return match ? [[Number(match[1]), match[2] ?? ''] as const] : []
  })
  const [, kind, hex] = /stored=(\w+):(\w+)/.exec(text) ?? []
  const answer = judgeDigests({
    found: new Map(found),
    algorithm,
    stored: kind && hex ? { algorithm: kind as DigestCase['algorithm'], hex } : undefined,
    wanted: words.includes('wanted'),
    named: words.includes('named'),
  })
  switch (answer.kind) {
    case 'store':
      return `store ${answer.hex}`
    case 'bad':
      return `bad ${answer.devids.join()}`
    case 'doubt':
      return answer.event
    case 'fine':
    case 'otherAlgorithm':
      return answer.kind
  }
}

for (const [text, expected] of [
  ['md5 1=a 2=a stored=md5:a', 'fine'],
  ['md5 1=a 2=a stored=md5:b', 'BSUM'],
  ['md5 1=a stored=md5:b named', 'BSUM'],
  ['sha1 1=a 2=a stored=md5:a', 'otherAlgorithm'],
  ['md5 1=a 2=a wanted', 'store a'],
  ['md5 1=a 2=a', 'fine'],
  ['md5 1=a 2=a named', 'fine'],
  ['md5 1=a 2=b 3=c stored=md5:b', 'bad 1,3'],
  ['md5 1=a 2=b stored=md5:c', 'BSUM'],
  ['sha1 1=a 2=b stored=md5:a', 'BSUM'],
  ['md5 1=a 2=b named', 'MSUM'],
  ['md5 1=a 2=b wanted', 'BSUM'],
  ['md5', 'fine'],
] as const) {
  t.test(`${text} is ${expected}`, async t => t.equal(verdict(text), expected))
}

import t from 'tap'
import { slotOf } from '../../../tracker/store/slot.ts'

t.test('a key has the slot it has always had', async t => {
  // These numbers stand in the rows of every database there is.
  const rows: [domainId: number, key: string | Uint8Array, slot: number][] = [
    [1, '', 3978],
    [1, 'a', 1938],
    [2, 'a', 1105],
    [1, 'cats/1.jpg', 1132],
    [7, 'ключ', 725],
    [2147483647, Uint8Array.of(0xff, 0x00), 1621],
  ]
  for (const [domainId, key, slot] of rows) {
    t.equal(slotOf(domainId, Buffer.from(key as string)), slot, `${domainId} ${String(key)}`)
  }
})

import t from 'tap'
import { UnreadAnswers, type Debtor } from '../../../tracker/wire/memory.ts'

t.test('when too much is unread, those who have kept theirs the longest are cut off', async t => {
  const unread = new UnreadAnswers(100)
  const cut: string[] = []
  const debtor = (name: string): Debtor => {
    const one = {
      cut() {
        cut.push(name)
        unread.owe(one, 0)
      },
    }
    return one
  }
  const [old, quick, young] = [debtor('old'), debtor('quick'), debtor('young')]
  unread.owe(quick, 50)
  unread.owe(old, 10)
  unread.owe(quick, 0)
  unread.owe(young, 40)
  unread.owe(quick, 40)
  unread.owe(old, 20)
  t.strictSame(cut, [], 'as long as there is room nobody is')
  unread.owe(quick, 41)
  t.strictSame(cut, ['old'], 'a growing debt is as old as it was')
  unread.owe(quick, 200)
  t.strictSame(cut, ['old', 'young', 'quick'])
  unread.owe(young, 100)
  t.equal(cut.length, 3, 'what was cut off counts no more')
})

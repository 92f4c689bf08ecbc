/** Answers every line with `OK `: what a line protocol costs with nothing behind it. A process of its own. */
import { createServer, type AddressInfo } from 'node:net'

const server = createServer({ noDelay: true }, socket => {
  socket.setEncoding('latin1')
  socket.on('data', (text: string) => {
    socket.write('OK \r\n'.repeat(text.split('\n').length - 1), 'latin1')
  })
  socket.on('error', () => socket.destroy())
}).listen(0, '127.0.0.1', () => {
  process.send?.((server.address() as AddressInfo).port)
})
process.on('disconnect', () => process.exit())

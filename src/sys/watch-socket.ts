import type { Libc } from '#src/sys/libc.ts';

/** A watch on a socket that has to end before the socket is closed. */
export interface SocketWatch {
  /** No turn comes any more. Safe to call from inside one, and twice. */
  close(): void;
}

/**
 * Gives `turn` a turn of its own whenever there is something to receive, an error included. Keeps the process alive. A turn
 * that leaves something makes another one come.
 *
 * By libuv's poll: no thread is taken (a blocking read would hold one of libuv's four for good), and closing is
 * immediate. koffi calls back outside of node's own callback scope, where an exception ends the process and
 * promises do not run: so the call only asks for a turn, which comes in the same round of the loop.
 */
export function watchSocket(libc: Pick<Libc, 'poll'>, fd: number, turn: () => void): SocketWatch {
  let stopped = false;
  let waiting = false;
  let closed = false;
  const run = (): void => {
    waiting = false;
    if (closed) return;
    try {
      turn();
    } finally {
      if (stopped && !closed) {
        stopped = false;
        poll.stop();
        poll.start({ readable: true }, onPoll);
      }
    }
  };
  const onPoll = (status: number): void => {
    // An overrun makes epoll report an error, on which libuv stops watching (uv__poll_io in src/unix/poll.c).
    if (status < 0) stopped = true;
    if (waiting) return;
    waiting = true;
    setImmediate(run);
  };
  const poll = libc.poll(fd, onPoll);
  return {
    close() {
      if (closed) return;
      closed = true;
      poll.close();
    },
  };
}

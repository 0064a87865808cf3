import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';

/**
 * A process that watches a namespace and ends in one of the ways a process may end, in the middle of events. Run as
 * `monitor-process.ts NAMESPACE MANNER`.
 */
const [namespace = '', manner] = process.argv.slice(2);
const stop = new AbortController();
const kernel = new RtnetlinkKernel({ netlink: systemNetlink }, { namespace });
process.once('SIGTERM', () => process.exit(0));
let ended = false;

function end(): void {
  if (ended) return;
  ended = true;
  switch (manner) {
    case 'abort':
      stop.abort();
      kernel.close();
      process.disconnect?.();
      return;
    case 'close':
      kernel.close();
      process.disconnect?.();
      return;
    case 'exit':
      process.exit(0);
      return;
    case 'throw':
      throw new Error('from inside a listener');
    case 'idle':
      // Nothing is closed: the process has only to watch.
      process.disconnect?.();
      setTimeout(() => process.kill(process.pid, 'SIGTERM'), 50);
  }
}

await kernel.monitor(end, stop.signal);
await kernel.apply([{ verb: 'set', object: { kind: 'link', name: 'u0', mtu: 1400 } }]);

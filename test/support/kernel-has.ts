import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Answers, by type: a kernel does not change under a test. */
const known = new Map<string, Promise<boolean>>();
let made = 0;

/**
 * Whether this kernel can make devices of a type (`wireguard`, `ipip`, …): one is made in a namespace of its own, which loads
 * the module where there is one. False without root. For the `skip` option of a test:
 * `skip: (await kernelHas('wireguard')) ? cannotRun() : 'this kernel has no wireguard'`.
 */
export function kernelHas(type: string): Promise<boolean> {
  let has = known.get(type);
  if (has === undefined) {
    has = tryDevice(type);
    known.set(type, has);
  }
  return has;
}

/** The module's own tunl0 has the ends any and any, which one device can have. */
const MORE: Readonly<Record<string, readonly string[]>> = { ipip: ['local', '127.0.0.1'] };

async function tryDevice(type: string): Promise<boolean> {
  const namespace = `weft-has-${process.pid}-${++made}`;
  const call = (...words: string[]) => execFileSync('ip', words, { stdio: 'ignore' });
  try {
    call('netns', 'add', namespace);
  } catch {
    return false;
  }
  try {
    call('-n', namespace, 'link', 'add', 'weft-has', 'type', type, ...(MORE[type] ?? []));
    return true;
  } catch {
    return false;
  } finally {
    call('netns', 'del', namespace);
  }
}

/** The reason to skip a test that needs devices of this type; `false` when there are some. */
export const lacks = async (type: string): Promise<string | false> =>
  (await kernelHas(type)) ? false : `this kernel has no ${type} devices`;

/**
 * Loads a module as the kernel does, with the program that it calls; nothing where there is none. A flannel of today ends
 * where `br_netfilter` is missing.
 */
export function loadModule(name: string): void {
  const program = readFileSync('/proc/sys/kernel/modprobe', 'utf8').trim();
  try {
    execFileSync(program, ['-q', name], { stdio: 'ignore' });
  } catch {
    // It may be built in, or not needed.
  }
}

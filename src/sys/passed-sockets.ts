import { WeftError } from '#src/lib/errors.ts';

/** SD_LISTEN_FDS_START of sd-daemon.h: the first descriptor that is handed over. */
const FIRST = 3;

/**
 * The listening sockets that systemd hands over (sd_listen_fds_with_names(3)): descriptors by the names that
 * `FileDescriptorName=` gives them. None where the variables are meant for another process, such as a parent of this one.
 * Throws WeftError `systemd` for a count that is no number.
 */
export function passedSockets(
  environment: Readonly<Record<string, string | undefined>>,
  pid: number,
): ReadonlyMap<string, number> {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '' } = environment;
  if (LISTEN_PID !== String(pid) || LISTEN_FDS === undefined) return new Map();
  if (!/^\d{1,4}$/.test(LISTEN_FDS)) {
    throw new WeftError('systemd', `LISTEN_FDS=${LISTEN_FDS} is not a number of sockets`, {
      remedy: 'look at what starts flanneld: systemd sets it',
    });
  }
  const names = LISTEN_FDNAMES.split(':');
  const found = new Map<string, number>();
  for (let n = 0; n < Number(LISTEN_FDS); n++) {
    const name = names[n] || 'unknown';
    // The first of several with one name, as sockets of one unit have.
    if (!found.has(name)) found.set(name, FIRST + n);
  }
  return found;
}

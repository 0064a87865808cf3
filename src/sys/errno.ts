import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';

/** errno.h's names by number. Two share a number on Linux: the later here is the one the kernel's own sources use. */
const NAMES = new Map(
  [
    ...Object.entries(constants.errno),
    ['EAGAIN', constants.errno.EAGAIN],
    ['EOPNOTSUPP', constants.errno.EOPNOTSUPP],
  ].map(([name, errno]) => [errno, name] as [number, string]),
);
const TEXTS = getSystemErrorMap();

/** The name errno.h gives the (positive) number; `errno 999` when it gives none. */
export const errnoName = (errno: number): string => NAMES.get(errno) ?? `errno ${errno}`;

/** What the number means, in words; its name when there are none. */
export const errnoText = (errno: number): string => TEXTS.get(-errno)?.[1] ?? errnoName(errno);

/** A system call of ours that failed, in the shape of node's own: `code` is the errno's name. */
export class SystemError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;

  constructor(syscall: string, errno: number) {
    super(`${syscall}: ${errnoText(errno)} (${errnoName(errno)})`);
    this.name = 'SystemError';
    this.code = errnoName(errno);
    this.errno = errno;
    this.syscall = syscall;
  }
}

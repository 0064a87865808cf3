import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';

/** Two names share a number on Linux; these are the ones the kernel's own sources use. */
const PREFERRED = ['EAGAIN', 'EOPNOTSUPP'] as const;

/** The name errno.h gives the (positive) number; `errno 999` when it gives none. */
export function errnoName(errno: number): string {
  const preferred = PREFERRED.find((name) => constants.errno[name] === errno);
  if (preferred !== undefined) return preferred;
  const found = Object.entries(constants.errno).find(([, number]) => number === errno);
  return found?.[0] ?? `errno ${errno}`;
}

/** What the number means, in words; its name when there are none. */
export function errnoText(errno: number): string {
  return getSystemErrorMap().get(-errno)?.[1] ?? errnoName(errno);
}

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

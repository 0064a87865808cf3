import { WeftError } from '#src/lib/errors.ts';
import { isKeySegment } from '#src/network/key-segment.ts';

/** The rules are those of a network's name. */
export const isTenantName = (name: string): boolean => isKeySegment(name);

/** @throws {WeftError} `tenant-name` */
export function assertTenantName(name: string): void {
  if (isTenantName(name)) return;
  throw new WeftError('tenant-name', `${JSON.stringify(name.slice(0, 100))} can't be the name of a tenant`, {
    remedy:
      'begin with a letter or a digit, and use up to 64 letters, digits, points, hyphens and underscores',
  });
}

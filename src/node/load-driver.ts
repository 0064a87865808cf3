import { messageOf } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import type { TenantService } from '#src/node/tenant-service.ts';

/**
 * Docker's driver, which a host without Docker does without. `undefined` where the program was replaced since its start, and
 * its parts no longer fit: the networks go on.
 */
export async function loadDriver(log: Logger): Promise<typeof TenantService | undefined> {
  try {
    return (await import('#src/node/tenant-service.ts')).TenantService;
  } catch (error) {
    log.error(`Docker's driver can't be loaded: ${messageOf(error)}; restart flanneld`);
    return undefined;
  }
}

import { MemoryRegistry } from '#src/registry/memory.ts';
import { systemClock } from '#src/sys/clock.ts';
import { complianceSuite } from './compliance.ts';

complianceSuite('memory', async () => {
  const registry = new MemoryRegistry({ clock: systemClock });
  return {
    registry,
    other: registry,
    writeConfig: async (text) => registry.writeConfig(text),
    compact: async () => registry.compact(),
    close: () => registry.close(),
  };
});
